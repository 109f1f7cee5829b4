#!lua flags=allow-oom
-- Records the one item that a worker is about to try, so that its death has a cause.
--
-- ARGS  job unit epoch:int owner index record
--       record: the item's record if it kills too many workers: JSON with "attempts":0, which
--       `expire` fills in
-- Returns   1 if recorded, 0 if the lease is no longer valid
-- Repeated: the last index counts.

if not holds(job, unit, epoch, owner) then return 0 end
call('HSET', ticket_key(job, unit), 'trying', index, 'trying_record', record)
return 1
