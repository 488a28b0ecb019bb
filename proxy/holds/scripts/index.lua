#!lua
-- Puts a hold where its state belongs in the indexes, unless they know a later revision.
-- KEYS revisions, agents, then the indexes, `recent` last; ARGV call, revision, agent, most entries in `recent`, 1 if only
-- a hold that they know is to be moved, then a score for each index (empty: not in it). With a revision of -1 the hold is
-- forgotten.
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '-1')
local revision = tonumber(ARGV[2])
if revision >= 0 and (revision < known or (ARGV[5] == '1' and known < 0)) then
  return 0
end
local live = false
for n = 3, #KEYS do
  local score = ARGV[n + 3]
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
redis.call('ZREMRANGEBYRANK', KEYS[#KEYS], 0, -1 - tonumber(ARGV[4]))
return 1
