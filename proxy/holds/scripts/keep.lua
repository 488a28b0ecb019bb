#!lua
-- One move of a hold, by compare-and-set on its revision and state.
-- KEYS hold, body[, waiting: only while nobody waits]; ARGV revision and state expected; document, revision and state to keep; a time from which it is too
-- late (empty: none); seconds to keep a final hold (empty: it is not final); channel, call.
-- 1: kept, 0: somebody else moved it, -1: too late, -2: somebody waits.
local held = redis.call('HMGET', KEYS[1], 'revision', 'state')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return 0
end
if ARGV[6] ~= '' then
  local time = redis.call('TIME')
  if tonumber(time[1]) + tonumber(time[2]) / 1000000 >= tonumber(ARGV[6]) then
    return -1
  end
end
if KEYS[3] and redis.call('ZCOUNT', KEYS[3], '(' .. redis.call('TIME')[1], '+inf') > 0 then
  return -2
end
redis.call('HSET', KEYS[1], 'document', ARGV[3], 'revision', ARGV[4], 'state', ARGV[5])
if ARGV[7] ~= '' then
  redis.call('EXPIRE', KEYS[1], ARGV[7])
  redis.call('DEL', KEYS[2])
end
redis.call('PUBLISH', ARGV[8], ARGV[9])
return 1
