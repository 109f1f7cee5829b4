#!lua flags=allow-oom
-- Returns all records of a range for its shard.
--
-- ARGS  job unit epoch:int owner
-- USES  items
-- Returns   {'LOST'} if the lease is no longer valid
--           {'OK', 1 if the range may be closed else 0, index, record, index, record, ...}
--           A range may be closed when all its items have ended or its job is cancelled.
-- Repeated: the records as they are then.

if not holds(job, unit, epoch, owner) then return { 'LOST' } end

local first, stop = span(unit)
local answer = { 'OK', (is_cancelled(job) or left_to_do(job, first, stop) == 0) and 1 or 0 }
local records = call('HGETALL', records_key(job, unit))
for _, value in ipairs(records) do answer[#answer + 1] = value end
call('HSET', ticket_key(job, unit), 'sharded', #records / 2)
return answer
