#!lua flags=allow-oom
-- Takes tickets from workers whose leases have expired, counts the deaths, and finds the cause.
--
-- ARGS  suspect_deaths:int item_deaths:int most:int
--       suspect_deaths: deaths of a ticket that make it suspect
--       item_deaths: deaths on one item that fail it
--       most: tickets processed at most
-- USES  items tickets clock deaths
-- Returns   issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: processes what has expired since.

local issued = {}
local longest_ms = call('HGET', LONGEST, 'lease')
if longest_ms then bring_back(LEASED, longest_ms) end
for _, member in ipairs(call('ZRANGEBYSCORE', LEASED, '-inf', now(), 'LIMIT', 0, most)) do
  local job, unit = ticket_of(member)
  if call('EXISTS', job_key(job), ticket_key(job, unit)) < 2 then
    call('ZREM', LEASED, member) -- the job was deleted by hand
  else
    put_back_dead(job, unit, suspect_deaths, item_deaths, issued)
  end
end
return issued
