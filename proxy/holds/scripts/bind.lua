#!lua
-- Binds an idempotency key to the first likeness it came with, and never shortens that. KEYS binding;
-- ARGV likeness, seconds. 1: it is this likeness, 0: it is another.
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then
  return 0
end
if not held or redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return 1
