#!lua flags=no-writes
-- A hold as it stands, milliseconds until it vanishes (-1: it stays), and the time. KEYS hold.
local held = redis.call('HMGET', KEYS[1], 'document', 'revision', 'state', 'delivered')
local time = redis.call('TIME')
return {held[1], held[2], held[3], held[4], redis.call('PTTL', KEYS[1]), time[1], time[2]}
