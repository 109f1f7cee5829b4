#!lua flags=no-writes
-- Reads how a light job ended.
--
-- ARGS  job
-- Returns   {state, record, record, ...}  the records that are known, in no particular order
--           {}                            there is no such light job
-- Repeated: the same.

local found = call('HMGET', job_key(job), 'state', 'total', 'light')
if not found[1] or not found[3] then return {} end
local answer = { found[1] }
local records = call('HVALS', records_key(job, string.format('0-%d', found[2])))
for _, record in ipairs(records) do answer[#answer + 1] = record end
return answer
