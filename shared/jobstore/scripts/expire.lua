#!lua flags=allow-oom
-- Takes tickets from workers whose leases have run out, counts the deaths, and lays the blame.
--
-- ARGV  1 deaths of a ticket that make it suspect   2 deaths on one item that end it
--       3 tickets at most
-- Answers  issued tickets, flat: job, unit, epoch, queue, ...
-- Repeated: does what has run out since.

local suspect_deaths, item_deaths, most = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local issued = {}

local function end_as_crash(job, unit, index, record, deaths)
  local generation = tonumber(call('HGET', job_key(job), 'generation'))
  local before = tonumber(call('HGET', part_key(job, 'attempts'), index) or generation - 1)
  local attempts = before + deaths
  -- No text in the record can look like this: quotes inside texts are escaped.
  local filled = string.gsub(record, '"attempts":0', '"attempts":' .. attempts, 1)
  end_item(job, unit, index, true, filled)
  note_attempts(job, index, attempts, generation)
  call('HINCRBY', job_key(job), 'failed', 1)
  call('HINCRBY', part_key(job, 'errors'), 'WorkerCrash', 1)
end

-- Only in the suspect lane is it known which item a worker had in hand when it died.
local function blame(job, unit)
  local found = call('HMGET', ticket_key(job, unit), 'trying', 'trying_record')
  local index = found[1]
  if not index or call('GETBIT', part_key(job, 'ended'), index) == 1 then return end
  local deaths = call('HINCRBY', ticket_key(job, unit), 'deaths:' .. index, 1)
  if deaths >= item_deaths then end_as_crash(job, unit, index, found[2], deaths) end
end

local longest_ms = call('HGET', LONGEST, 'lease')
if longest_ms then bring_back(LEASED, longest_ms) end
for _, member in ipairs(call('ZRANGEBYSCORE', LEASED, '-inf', now(), 'LIMIT', 0, most)) do
  local job, unit = ticket_of(member)
  if call('EXISTS', job_key(job), ticket_key(job, unit)) < 2 then
    call('ZREM', LEASED, member) -- somebody deleted the job by hand
  else
    blame(job, unit)
    local deaths = call('HINCRBY', ticket_key(job, unit), 'deaths', 1)
    put_back(job, unit, deaths >= suspect_deaths and SUSPECT or next_lane(job, unit), issued)
  end
end
return issued
