#!lua flags=no-writes
-- A hold as it stands, and the time. KEYS hold.
local held = redis.call('HMGET', KEYS[1], 'document', 'revision', 'state', 'delivered')
local time = redis.call('TIME')
return {held[1], held[2], held[3], held[4], time[1], time[2]}
