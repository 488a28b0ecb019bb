#!lua
-- Notes that somebody waits for a hold, for a while. KEYS hold, waiting; ARGV who waits, seconds.
-- Answers the state of the hold; nothing where there is none.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  return false
end
local life = tonumber(ARGV[2])
redis.call('ZADD', KEYS[2], tonumber(redis.call('TIME')[1]) + life, ARGV[1])
if redis.call('TTL', KEYS[2]) < life then
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
return state
