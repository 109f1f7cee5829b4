#!lua flags=allow-oom
-- Counts a failure of the merge: once for each kind of failure and issue of its ticket.
--
-- ARGS  job unit epoch:int owner failure
--       unit: that of the merge ticket; failure: the document and the class of the error
-- Returns   how often the merge has failed in this way; 0 if the lease is no longer valid
-- Repeated: the same number.

if not holds(job, unit, epoch, owner) then return 0 end

local ticket = ticket_key(job, unit)
if tonumber(call('HGET', ticket, 'failed_at:' .. failure) or '0') < epoch then
  call('HSET', ticket, 'failed_at:' .. failure, epoch)
  call('HINCRBY', ticket, 'failures:' .. failure, 1)
end
return tonumber(call('HGET', ticket, 'failures:' .. failure))
