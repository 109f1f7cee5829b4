#!lua flags=allow-oom
-- Registers a worker for a while, and removes the workers whose time is over.
--
-- ARGS  worker ttl_ms:int info
--       ttl_ms: 0 unregisters the worker; info: JSON
-- Returns   nothing
-- Repeated: the last call counts.

call('ZADD', WORKERS, now() + ttl_ms, worker)
call('HSET', WORKER_INFOS, worker, info)
for _, gone in ipairs(call('ZRANGEBYSCORE', WORKERS, '-inf', now())) do
  call('ZREM', WORKERS, gone)
  call('HDEL', WORKER_INFOS, gone)
end
