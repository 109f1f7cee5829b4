#!lua flags=allow-oom
-- Records what the job of a leased ticket waits for, while the ticket stays leased.
--
-- ARGS  job unit epoch:int owner reason fresh_ms:int
--       fresh_ms: how long it is shown; the next item that ends removes it
-- Returns   1 if recorded, 0 if the lease is no longer valid
-- Repeated: shown for longer.

if not holds(job, unit, epoch, owner) then return 0 end
call('HSET', job_key(job), 'waiting_for', reason, 'waiting_until_ms', now() + fresh_ms)
return 1
