#!lua flags=allow-oom
-- Releases a ticket before its lease runs out.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner   5 how long it shall rest, in ms
--       6 what the job waits for, or ''   7 how long that stays true, in ms
--       8 1 to count a death of its worker, as `expire` does, and issue it at once; else 0
--       9 deaths of a ticket that make it suspect   10 deaths on one item that end it
-- USES  deaths
-- Answers  issued tickets, flat: job, unit, epoch, queue, ... (none if it rests, or is lost)
-- Repeated: nothing, since the lease no longer stands.

local job, unit = ARGV[1], ARGV[2]
local rest_ms, reason, true_ms, died = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1'
local issued = {}
if not holds(job, unit, ARGV[3], ARGV[4]) then return issued end

if died then rest_ms = 0 end
if reason ~= '' then
  call('HSET', job_key(job), 'waiting_for', reason,
    'waiting_until_ms', now() + rest_ms + true_ms)
end
-- A ticket of a cancelled job waits too: a failing bucket would otherwise be tried without a pause.
-- Only a range with nothing to close has no reason to wait; it is dropped.
local is_needed = not is_cancelled(job) or unit == MERGE
  or call('EXISTS', records_key(job, unit)) == 1
if died then
  put_back_dead(job, unit, tonumber(ARGV[9]), tonumber(ARGV[10]), issued)
elseif rest_ms > 0 and is_needed then
  note_longest('rest', rest_ms)
  park(job, unit, now() + rest_ms)
else
  put_back(job, unit, next_lane(job, unit), issued)
end
return issued
