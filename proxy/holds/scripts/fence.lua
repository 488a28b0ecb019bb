#!lua
-- A number larger than every one before it, also after a fail-over that lost the last ones. KEYS fence.
local time = redis.call('TIME')
local fresh = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
if fresh <= last then
  fresh = last + 1
end
local said = string.format('%016.0f', fresh)
redis.call('SET', KEYS[1], said)
return said
