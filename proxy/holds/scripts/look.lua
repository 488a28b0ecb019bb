#!lua flags=no-writes
-- A hold as it stands, its body where a second key asks for it, and the time. KEYS hold[, body].
local held = redis.call('HMGET', KEYS[1], 'document', 'revision', 'state')
local body = KEYS[2] and redis.call('GET', KEYS[2]) or false
local time = redis.call('TIME')
return {held[1], held[2], held[3], body, time[1], time[2]}
