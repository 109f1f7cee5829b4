#!lua flags=no-writes
-- Reads what there is to say about jobs, all as of one moment.
--
-- ARGV  job ids
-- Answers  {now in ms, then for each job: {its hash, errors, verdicts, rate}, each as name, value,
--          ...}; all four are empty if there is no such job
-- Repeated: the same.

local answer = { now() }
for _, job in ipairs(ARGV) do
  local hashes = { call('HGETALL', job_key(job)) }
  for _, part in ipairs({ 'errors', 'verdicts', 'rate' }) do
    hashes[#hashes + 1] = call('HGETALL', part_key(job, part))
  end
  answer[#answer + 1] = hashes
end
return answer
