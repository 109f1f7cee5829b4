#!lua flags=allow-oom
-- Releases a ticket before its lease expires.
--
-- ARGS  job unit epoch:int owner delay_ms:int reason fresh_ms:int
-- ARGS  died:int suspect_deaths:int item_deaths:int
--       delay_ms: time until the ticket is issued again
--       reason, fresh_ms: what the job waits for, or '', and how long that is shown after the delay
--       died: 1 counts a death as `expire` does and issues the ticket at once, else 0
--       suspect_deaths, item_deaths: see `expire`
-- USES  items tickets clock deaths
-- Returns   issued tickets, flat: job, unit, epoch, queue, ... (none if delayed or lost)
-- Repeated: nothing, since the lease is no longer valid.

local issued = {}
if not holds(job, unit, epoch, owner) then return issued end

if reason ~= '' then
  call('HSET', job_key(job), 'waiting_for', reason,
    'waiting_until_ms', now() + delay_ms + fresh_ms)
end
-- A ticket of a cancelled job is delayed too: its shard would otherwise be tried in a busy loop
-- while the bucket fails. Only a range with nothing to close is dropped at once.
local is_needed = not is_cancelled(job) or unit == MERGE
  or call('EXISTS', records_key(job, unit)) == 1
if died == 1 then
  put_back_dead(job, unit, suspect_deaths, item_deaths, issued)
elseif delay_ms > 0 and is_needed then
  note_longest('rest', delay_ms)
  park(job, unit, now() + delay_ms)
else
  put_back(job, unit, next_queue(job, unit), issued)
end
return issued
