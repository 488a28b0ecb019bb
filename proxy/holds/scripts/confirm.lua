#!lua
-- Keeps a hold and its body for good. KEYS hold, body; ARGV channel, call. 1: kept, 0: too late, they have vanished.
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 then
  return 0
end
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
