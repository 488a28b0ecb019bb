#!lua
-- Notes that somebody waits no more. KEYS waiting; ARGV who. Answers how many still wait.
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return redis.call('ZCARD', KEYS[1])
