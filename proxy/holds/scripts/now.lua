#!lua flags=no-writes
-- The time: seconds, microseconds. KEYS any: it says which node is asked.
return redis.call('TIME')
