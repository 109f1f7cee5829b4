#!lua flags=no-writes
-- Reads the status of jobs, all as of one moment.
--
-- ARGS
-- EACH  job
-- Returns   {now in ms, then for each job: {fields of its hash, errors, verdicts, rate}}
--           Each of the four is flat: name, value, ...; empty if the job does not exist.
-- Repeated: the same.

-- Not all fields: the job document may be long, and a status is read every second.
local FIELDS = { 'state', 'total', 'done', 'failed', 'generation', 'model', 'created_ms',
  'started_ms', 'finished_ms', 'waiting_for', 'waiting_until_ms',
  'ended_without' }

local function fields_of(job)
  local flat = {}
  for i, value in ipairs(call('HMGET', job_key(job), unpack(FIELDS))) do
    if value then
      flat[#flat + 1] = FIELDS[i]
      flat[#flat + 1] = value
    end
  end
  return flat
end

local answer = { now() }
for job in each() do
  local hashes = { fields_of(job) }
  for _, part in ipairs({ 'errors', 'verdicts', 'rate' }) do
    hashes[#hashes + 1] = call('HGETALL', part_key(job, part))
  end
  answer[#answer + 1] = hashes
end
return answer
