#!lua
-- Takes a place among the held calls, or says which cap is reached.
-- KEYS due, held of the agent, agents; ARGV call, decide_by, agent, cap of one agent, cap of all.
-- 0: admitted, 1: the agent has too many, 2: all together have.
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return 1
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[5]) then
  return 2
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
return 0
