#!lua flags=allow-oom
-- Releases a ticket before its lease expires.
--
-- ARGS  job unit epoch:int owner delay_ms:int longest_ms:int reason fresh_ms:int
-- ARGS  died:int suspect_deaths:int item_deaths:int
--       delay_ms: time until the ticket is issued again
--       longest_ms: above delay_ms, the time doubles with each release of this kind up to this,
--       until an item of the ticket ends
--       reason, fresh_ms: what the job waits for, or '', and how long that is shown after the delay
--       died: 1 counts a death as `expire` does and issues the ticket at once, else 0
--       suspect_deaths, item_deaths: see `expire`
-- USES  items tickets clock deaths
-- Returns   issued tickets, flat: job, unit, epoch, queue, ... (none if delayed or lost)
-- Repeated: nothing, since the lease is no longer valid.

local issued = {}
if not holds(job, unit, epoch, owner) then return issued end

local rest_ms = delay_ms
if longest_ms > delay_ms then
  local before = call('HINCRBY', ticket_key(job, unit), 'rests', 1) - 1
  rest_ms = math.min(longest_ms, delay_ms * 2 ^ math.min(before, 30))
end
if reason ~= '' then
  call('HSET', job_key(job), 'waiting_for', reason,
    'waiting_until_ms', now() + rest_ms + fresh_ms)
end
-- A ticket of a cancelled job is delayed too: its shard would otherwise be tried in a busy loop
-- while the bucket fails. Only a range with nothing to close is dropped at once.
local is_needed = not is_cancelled(job) or unit == MERGE
  or call('EXISTS', records_key(job, unit)) == 1
if died == 1 then
  put_back_dead(job, unit, suspect_deaths, item_deaths, issued)
elseif rest_ms > 0 and is_needed then
  note_longest('rest', rest_ms)
  park(job, unit, now() + rest_ms)
else
  put_back(job, unit, next_queue(job, unit), issued)
end
return issued
