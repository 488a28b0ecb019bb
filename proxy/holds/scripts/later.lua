#!lua
-- Keeps what was said later. KEYS[1]: hash of text and time; ARGV: text, time it was said (seconds), lifetime (seconds).
local said = tonumber(redis.call('HGET', KEYS[1], 'said') or '-1')
if tonumber(ARGV[2]) >= said then
  redis.call('HSET', KEYS[1], 'text', ARGV[1], 'said', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return said
