#!lua
-- Keeps what was said later, until it is too old. KEYS[1]: hash of text and time; ARGV: text, time it was said
-- (seconds), lifetime (seconds). Answers what counts from now on, or nothing when all of it is too old.
local kept = redis.call('HMGET', KEYS[1], 'text', 'said')
local text, said = ARGV[1], tonumber(ARGV[2])
if kept[2] and tonumber(kept[2]) > said then
  text, said = kept[1], tonumber(kept[2])
end
local ends = said + tonumber(ARGV[3])
if ends <= tonumber(redis.call('TIME')[1]) then
  return false
end
redis.call('HSET', KEYS[1], 'text', text, 'said', said)
-- From when it was said, not from now: using an old telling must not make it last longer.
redis.call('EXPIREAT', KEYS[1], string.format('%d', ends))
return text
