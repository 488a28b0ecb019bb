#!lua
-- Puts a hold where its state belongs in the indexes, unless they know a later revision.
-- KEYS revisions, agents, sizes, bytes, then the indexes, the agent's held ones and `recent` last; ARGV call, revision,
-- agent, bytes of its body, most entries in `recent`, 1 if only a hold that they know is to be moved, then a score for each
-- index (empty: not in it). With a revision of -1 the hold is forgotten.
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
local revision = tonumber(ARGV[2])
if revision >= 0 and (revision < known or (ARGV[6] == '1' and known < 0)) then
  return 0
end
local live = false
for n = 5, #KEYS do
  local score = ARGV[n + 2]
  if score == '' then
    redis.call('ZREM', KEYS[n], ARGV[1])
  else
    redis.call('ZADD', KEYS[n], score, ARGV[1])
    live = live or n < #KEYS
  end
end
if live then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
end
-- An agent's bytes are the sum of its sizes at any time: both change here and in admit.lua, in one script.
local held = ARGV[#ARGV - 1] ~= ''
local size = redis.call('HGET', KEYS[3], ARGV[1])
if held and not size then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[4] .. ' ' .. ARGV[3])
  redis.call('HINCRBY', KEYS[4], ARGV[3], ARGV[4])
elseif size and not held then
  local bytes, agent = string.match(size, '^(%d+) (.*)$')
  redis.call('HDEL', KEYS[3], ARGV[1])
  if redis.call('HINCRBY', KEYS[4], agent, '-' .. bytes) <= 0 then
    redis.call('HDEL', KEYS[4], agent)
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[#KEYS], 0, -1 - tonumber(ARGV[5]))
return 1
