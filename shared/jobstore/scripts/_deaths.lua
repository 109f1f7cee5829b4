-- Deaths of workers: counted for the ticket a worker held and the item it was trying.
-- USES  items tickets

local function end_as_crash(job, unit, index, record, deaths)
  local generation = tonumber(call('HGET', job_key(job), 'generation'))
  local before = tonumber(call('HGET', part_key(job, 'attempts'), index) or generation - 1)
  local attempts = before + deaths
  -- Only the field itself can match: quotes inside strings are escaped.
  local filled = string.gsub(record, '"attempts":0', '"attempts":' .. attempts, 1)
  end_item(job, unit, index, true, filled)
  note_attempts(job, index, attempts, generation)
  call('HINCRBY', job_key(job), 'failed', 1)
  call('HINCRBY', part_key(job, 'errors'), 'WorkerCrash', 1)
  tell(job, { { index, 'failed', '', 'WorkerCrash' } })
end

-- Only in the suspect queue is it known which item a worker was trying when it died.
local function blame(job, unit, item_deaths)
  local found = call('HMGET', ticket_key(job, unit), 'trying', 'trying_record')
  local index = found[1]
  if not index or call('GETBIT', part_key(job, 'ended'), index) == 1 then return end
  local deaths = call('HINCRBY', ticket_key(job, unit), 'deaths:' .. index, 1)
  if deaths >= item_deaths then end_as_crash(job, unit, index, found[2], deaths) end
end

-- Issues the ticket of a dead worker again: to the suspect queue from death *suspect_deaths* of the
-- ticket on. Death *item_deaths* on one item fails the item.
local function put_back_dead(job, unit, suspect_deaths, item_deaths, issued)
  blame(job, unit, item_deaths)
  local deaths = call('HINCRBY', ticket_key(job, unit), 'deaths', 1)
  put_back(job, unit, deaths >= suspect_deaths and SUSPECT or next_queue(job, unit), issued)
end
