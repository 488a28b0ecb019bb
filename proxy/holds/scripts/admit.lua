#!lua
-- Takes a place among the held calls, or says which cap is reached.
-- KEYS due, held of the agent, agents, sizes, bytes; ARGV call, decide_by, agent, bytes of its body, cap of one agent, cap
-- of all, cap of one agent's bytes.
-- 0: admitted, 1: the agent has too many, 2: all together have, 3: the agent's are too large together.
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then
  return 1
end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then
  return 2
end
if tonumber(redis.call('HGET', KEYS[5], ARGV[3]) or '0') + tonumber(ARGV[4]) > tonumber(ARGV[7]) then
  return 3
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
if redis.call('HSETNX', KEYS[4], ARGV[1], ARGV[4] .. ' ' .. ARGV[3]) == 1 then
  redis.call('HINCRBY', KEYS[5], ARGV[3], ARGV[4])
end
return 0
