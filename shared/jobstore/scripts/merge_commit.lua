#!lua flags=allow-oom
-- Ends a job: its state, the one event, and the clock after which Redis forgets it.
--
-- ARGV  1 job   2 unit (merge)   3 epoch   4 owner   5 how long the job is kept, in ms
--       6 events that are kept
-- Answers  1 ended, 0 the lease does not stand any more
-- Repeated: 0, and no second event.

local job, unit, keep_ms = ARGV[1], ARGV[2], ARGV[5]
if not holds(job, unit, ARGV[3], ARGV[4]) then return 0 end

local key = job_key(job)
local state = is_cancelled(job) and CANCELLED or DONE
drop(job, unit)
call('HSET', key, 'state', state, 'finished_ms', now())
call('HDEL', key, 'waiting_for', 'waiting_until_ms')

local found = call('HMGET', key, 'generation', 'total', 'done', 'failed', 'fingerprint')
call('XADD', EVENTS, 'MAXLEN', '~', ARGV[6], '*', 'job_id', job, 'event', 'job.' .. state,
  'generation', found[1], 'total', found[2], 'done', found[3], 'failed', found[4])

call('PEXPIRE', key, keep_ms)
for _, part in ipairs(JOB_PARTS) do call('PEXPIRE', part_key(job, part), keep_ms) end
if call('GET', derived_key(found[5])) == job then
  call('PEXPIRE', derived_key(found[5]), keep_ms)
end
return 1
