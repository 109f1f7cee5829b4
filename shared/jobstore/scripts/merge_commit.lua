#!lua flags=allow-oom
-- Ends a job: sets its state, adds its one event, and starts the time until Redis forgets it.
--
-- ARGS  job unit epoch:int owner ended_without keep_ms:int events_kept:int
--       unit: that of the merge ticket
--       ended_without: the documents that could not be written, with the reason, or ''
-- USES  items tickets
-- Returns   1 if ended, 0 if the lease is no longer valid
-- Repeated: 0, and no second event.

if not holds(job, unit, epoch, owner) then return 0 end

local key = job_key(job)
local state = is_cancelled(job) and CANCELLED or DONE
drop(job, unit)
call('HSET', key, 'state', state, 'finished_ms', now())
call('HDEL', key, 'waiting_for', 'waiting_until_ms', 'ended_without')
if ended_without ~= '' then call('HSET', key, 'ended_without', ended_without) end

local found = call('HMGET', key, 'generation', 'total', 'done', 'failed', 'fingerprint')
call('XADD', EVENTS, 'MAXLEN', '~', events_kept, '*', 'job_id', job, 'event', 'job.' .. state,
  'generation', found[1], 'total', found[2], 'done', found[3], 'failed', found[4])

call('PEXPIRE', key, keep_ms)
for _, part in ipairs(JOB_PARTS) do call('PEXPIRE', part_key(job, part), keep_ms) end
if call('GET', derived_key(found[5])) == job then
  call('PEXPIRE', derived_key(found[5]), keep_ms)
end
return 1
