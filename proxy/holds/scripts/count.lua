#!lua
-- Counts calls (one, or none to look only) in their buckets and adds up the windows. KEYS buckets;
-- ARGV calls, amount, seconds to keep, then for each window: its name, width of a bucket in seconds, number of buckets.
-- Answers time in seconds, then calls and sum of each window (sums as text: they may not fit a whole number).
local now = tonumber(redis.call('TIME')[1])
local fields = redis.call('HGETALL', KEYS[1])
local answer = {now}
for w = 4, #ARGV, 3 do
  local name, width, buckets = ARGV[w], tonumber(ARGV[w + 1]), tonumber(ARGV[w + 2])
  local current = math.floor(now / width)
  local calls = redis.call('HINCRBY', KEYS[1], name .. ':n:' .. current, ARGV[1])
  local sum = tonumber(redis.call('HINCRBY', KEYS[1], name .. ':s:' .. current, ARGV[2]))
  for i = 1, #fields, 2 do
    local of, kind, bucket = string.match(fields[i], '^(%a+):(%a):(%d+)$')
    if of == name then
      bucket = tonumber(bucket)
      if bucket <= current - buckets then
        redis.call('HDEL', KEYS[1], fields[i])
      elseif bucket ~= current and kind == 'n' then
        calls = calls + tonumber(fields[i + 1])
      elseif bucket ~= current then
        sum = sum + tonumber(fields[i + 1])
      end
    end
  end
  answer[#answer + 1] = calls
  answer[#answer + 1] = string.format('%.0f', sum)
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return answer
