#!lua
-- Points a likeness at a hold, by compare-and-set. KEYS pointer; ARGV call expected (empty: none), call, seconds.
local held = redis.call('GET', KEYS[1]) or ''
if held ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
