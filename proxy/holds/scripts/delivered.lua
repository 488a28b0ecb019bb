#!lua
-- Notes that a hold's response reached somebody. KEYS hold.
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'delivered', '1')
end
return 1
