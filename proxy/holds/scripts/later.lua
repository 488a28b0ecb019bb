#!lua
-- Keeps what was said later, until it is too old. KEYS[1]: hash of text, time and mark; ARGV: text, time it was said
-- (seconds), lifetime (seconds), a mark that only the same telling has. Answers what counts from now on, or nothing when
-- all of it is too old.
local kept = redis.call('HMGET', KEYS[1], 'text', 'said', 'mark')
local text, said = ARGV[1], tonumber(ARGV[2])
local known = kept[2] and (tonumber(kept[2]) > said or (tonumber(kept[2]) == said and kept[3] == ARGV[4]))
if known then
  text, said = kept[1], tonumber(kept[2])
end
local ends = said + tonumber(ARGV[3])
if ends <= tonumber(redis.call('TIME')[1]) then
  return false
end
-- What is known already is not written again: a write waits for the disk, and every click comes with a telling.
if not known then
  redis.call('HSET', KEYS[1], 'text', text, 'said', said, 'mark', ARGV[4])
  -- From when it was said, not from now: using an old telling must not make it last longer.
  redis.call('EXPIREAT', KEYS[1], string.format('%d', ends))
end
return text
