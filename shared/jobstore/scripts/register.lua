#!lua flags=allow-oom
-- Notes that a worker is there, until a time; forgets those whose time is over.
--
-- ARGV  1 worker id   2 time to live, in ms; 0 signs off   3 what it says of itself (JSON)
-- Answers  nothing
-- Repeated: the last one counts.

local worker, ttl_ms = ARGV[1], tonumber(ARGV[2])
call('ZADD', WORKERS, now() + ttl_ms, worker)
call('HSET', WORKER_INFOS, worker, ARGV[3])
for _, gone in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now())) do
  call('ZREM', WORKERS, gone)
  call('HDEL', WORKER_INFOS, gone)
end
