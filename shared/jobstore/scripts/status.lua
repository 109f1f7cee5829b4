#!lua flags=no-writes
-- Reads what there is to say about jobs, all as of one moment.
--
-- ARGV  job ids
-- Answers  {now in ms, then for each job: {fields of its hash, errors, verdicts, rate}, each as
--          name, value, ...}; all four are empty if there is no such job
-- Repeated: the same.

-- Not all of them: the job's document may be long, and a status is asked for every second.
local FIELDS = { 'state', 'total', 'done', 'failed', 'generation', 'model', 'created_ms',
  'started_ms', 'finished_ms', 'waiting_for', 'waiting_until_ms' }

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
for _, job in ipairs(ARGV) do
  local hashes = { fields_of(job) }
  for _, part in ipairs({ 'errors', 'verdicts', 'rate' }) do
    hashes[#hashes + 1] = call('HGETALL', part_key(job, part))
  end
  answer[#answer + 1] = hashes
end
return answer
