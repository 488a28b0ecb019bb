#!lua
-- Writes a hold and its body under a short life of their own: until confirmed they are nobody's, and vanish.
-- KEYS hold, body; ARGV document, revision, state, body, life in seconds. 1: written, 0: there is one already.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'document', ARGV[1], 'revision', ARGV[2], 'state', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
return 1
