#!lua flags=allow-oom
-- Takes tickets from workers whose leases have run out, counts the deaths, and lays the blame.
--
-- ARGV  1 deaths of a ticket that make it suspect   2 deaths on one item that end it
--       3 tickets at most
-- USES  deaths
-- Answers  issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: does what has run out since.

local suspect_deaths, item_deaths, most = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local issued = {}

local longest_ms = call('HGET', LONGEST, 'lease')
if longest_ms then bring_back(LEASED, longest_ms) end
for _, member in ipairs(call('ZRANGEBYSCORE', LEASED, '-inf', now(), 'LIMIT', 0, most)) do
  local job, unit = ticket_of(member)
  if call('EXISTS', job_key(job), ticket_key(job, unit)) < 2 then
    call('ZREM', LEASED, member) -- somebody deleted the job by hand
  else
    put_back_dead(job, unit, suspect_deaths, item_deaths, issued)
  end
end
return issued
