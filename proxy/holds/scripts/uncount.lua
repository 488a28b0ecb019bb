#!lua
-- Takes one call back out of the buckets of the time at which it was counted, where they still are.
-- KEYS buckets; ARGV what to add to the sums (0 or below), that time in seconds, then for each window: its name, width,
-- number of buckets.
for w = 3, #ARGV, 3 do
  local bucket = math.floor(tonumber(ARGV[2]) / tonumber(ARGV[w + 1]))
  local calls, sum = ARGV[w] .. ':n:' .. bucket, ARGV[w] .. ':s:' .. bucket
  if tonumber(redis.call('HGET', KEYS[1], calls) or '0') > 0 then
    redis.call('HINCRBY', KEYS[1], calls, -1)
    redis.call('HINCRBY', KEYS[1], sum, ARGV[1])
  end
end
return 1
