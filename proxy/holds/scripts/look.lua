#!lua flags=no-writes
-- A hold as it stands, its body where a third key asks for it, the time, and how many wait for it.
-- KEYS hold, waiting[, body].
local held = redis.call('HMGET', KEYS[1], 'document', 'revision', 'state')
local body = KEYS[3] and redis.call('GET', KEYS[3]) or false
local time = redis.call('TIME')
return {held[1], held[2], held[3], body, redis.call('ZCOUNT', KEYS[2], '(' .. time[1], '+inf'), time[1], time[2]}
