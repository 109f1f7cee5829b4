#!lua flags=allow-oom
-- Cancels a job: feeding stops, and tickets without records are dropped.
--
-- ARGS  job
-- USES  items tickets
-- Returns   1, or 0 if the job does not exist
-- Repeated: nothing more happens.
--
-- Tickets that have records or are held by a worker stay open until their shard is written. A job
-- whose items have all ended, or that has ended itself, does not change.

local found = call('HMGET', job_key(job), 'state', 'done', 'failed', 'total')
if not found[1] then return 0 end
if found[1] ~= RUNNING or found[2] + found[3] == tonumber(found[4]) then return 1 end

call('HSET', job_key(job), 'state', FINISHING, 'cancelled', 1)
for _, unit in ipairs(call('SMEMBERS', part_key(job, 'tickets'))) do
  local is_held = call('HEXISTS', ticket_key(job, unit), 'owner') == 1
  if not is_held then
    if call('EXISTS', records_key(job, unit)) == 0 then
      drop(job, unit)
    else
      call('ZADD', PARKED, 'XX', now(), member_of(job, unit)) -- no reason left to wait
    end
  end
end
-- Parked, not issued: the caller may have no access to the broker; a worker issues it in a second.
if is_ready_to_merge(job) then
  if is_light(job) then end_light(job) else park(job, MERGE, now()) end
end
return 1
