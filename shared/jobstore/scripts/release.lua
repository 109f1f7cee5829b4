#!lua flags=allow-oom
-- Gives a ticket back of one's own will; that is no death.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner   5 how long it shall rest, in ms
--       6 what the job waits for, or ''   7 how long that stays true, in ms
-- Answers  issued tickets, flat: job, unit, epoch, queue, ... (none if it rests, or is lost)
-- Repeated: nothing, since the lease does not stand any more.

local job, unit = ARGV[1], ARGV[2]
local rest_ms, reason, true_ms = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local issued = {}
if not holds(job, unit, ARGV[3], ARGV[4]) then return issued end

if reason ~= '' then
  call('HSET', job_key(job), 'waiting_for', reason,
    'waiting_until_ms', now() + rest_ms + true_ms)
end
-- Of a cancelled job too, or a bucket that fails would have its shard tried without a pause. Only
-- a range with nothing to close has no reason to rest: it is dropped.
local is_needed = not is_cancelled(job) or unit == MERGE
  or call('EXISTS', records_key(job, unit)) == 1
if rest_ms > 0 and is_needed then
  note_longest('rest', rest_ms)
  park(job, unit, now() + rest_ms)
else
  put_back(job, unit, next_lane(job, unit), issued)
end
return issued
