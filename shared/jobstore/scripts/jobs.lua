#!lua flags=allow-oom
-- Lists the jobs in Redis, newest first, and removes expired ones from the list.
--
-- ARGS
-- Returns   job ids
-- Repeated: the same.

local known = {}
for _, job in ipairs(call('ZREVRANGE', JOBS, 0, -1)) do
  if call('EXISTS', job_key(job)) == 1 then
    known[#known + 1] = job
  else
    call('ZREM', JOBS, job)
  end
end
return known
