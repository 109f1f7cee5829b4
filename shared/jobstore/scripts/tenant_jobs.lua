#!lua flags=allow-oom
-- Lists a page of a tenant's jobs, newest first, and removes expired ones from its list.
--
-- ARGS  tenant before:int count:int
--       before: sequence number that all jobs of the page are below; 0 for the first page
-- Returns   job, sequence number, job, sequence number, ...
-- Repeated: the same.

local key, page = tenant_jobs_key(tenant), {}
local below = before > 0 and '(' .. string.format('%d', before) or '+inf'
while #page < 2 * count do
  local found = call('ZREVRANGEBYSCORE', key, below, '-inf', 'WITHSCORES', 'LIMIT', 0, count)
  if #found == 0 then break end
  for i = 1, #found, 2 do
    if call('EXISTS', job_key(found[i])) == 0 then
      call('ZREM', key, found[i])
    elseif #page < 2 * count then
      page[#page + 1], page[#page + 2] = found[i], found[i + 1]
    end
  end
  below = '(' .. found[#found]
end
return page
