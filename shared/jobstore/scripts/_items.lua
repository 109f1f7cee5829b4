-- Items of a job: which have ended, and how often they were tried.

-- Number of items of a range that have not ended.
local function left_to_do(job, first, stop)
  return stop - first - call('BITCOUNT', part_key(job, 'ended'), first, stop - 1, 'BIT')
end

-- First item at or after *cursor* that has not ended, or nil.
local function next_item(job, cursor, total)
  if cursor >= total then return nil end
  local index = call('BITPOS', part_key(job, 'ended'), 0, cursor, total - 1, 'BIT')
  if index >= 0 then return index end
  return nil
end

-- Stores the attempts of an item over all generations if they differ from the generation; `claim`
-- returns them.
local function note_attempts(job, index, attempts, generation)
  if attempts == generation then
    call('HDEL', part_key(job, 'attempts'), index)
  else
    call('HSET', part_key(job, 'attempts'), index, attempts)
  end
end

local TOLD_MOST, TOLD_MS = 10000, 600000 -- events that a stream keeps, and how long after the last

-- Tells those who listen to a job which items have ended: {index, state, verdict, class} of each.
-- Call it when they are counted. An event's ID is the generation and the number of items that had
-- ended with it, so that a reader notices a gap. Nobody's result depends on an event: if Redis has
-- lost recent writes, an ID may exist already, and then the event is left out.
local function tell(job, ended)
  if #ended == 0 or call('EXISTS', part_key(job, 'listened')) == 0 then return end
  local found = call('HMGET', job_key(job), 'generation', 'done', 'failed')
  local number, stream = found[2] + found[3] - #ended, part_key(job, 'told')
  for _, item in ipairs(ended) do
    number = number + 1
    redis.pcall('XADD', stream, 'MAXLEN', '~', TOLD_MOST, found[1] .. '-' .. number,
      'index', item[1], 'state', item[2], 'verdict', item[3], 'error', item[4])
  end
  call('PEXPIRE', stream, TOLD_MS)
end

-- Records the end of an item. Returns false and changes nothing if it had ended before: an item
-- counts when its bit changes from 0 to 1.
local function end_item(job, unit, index, failed, record)
  if call('SETBIT', part_key(job, 'ended'), index, 1) == 1 then return false end
  if failed then call('SETBIT', part_key(job, 'failed'), index, 1) end
  call('HSET', records_key(job, unit), index, record)
  return true
end
