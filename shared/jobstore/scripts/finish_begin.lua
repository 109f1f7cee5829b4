#!lua flags=allow-oom
-- Hands out all that is recorded of a range, for its shard.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner
-- Answers  {'LOST'}
--          {'OK', 1 if the range may be closed, index, record, index, record, ...}
-- A range may be closed when every item has ended, or when its job is cancelled.
-- Repeated: the records as they are then.

local job, unit = ARGV[1], ARGV[2]
if not holds(job, unit, ARGV[3], ARGV[4]) then return { 'LOST' } end

local first, stop = span(unit)
local answer = { 'OK', (is_cancelled(job) or left_to_do(job, first, stop) == 0) and 1 or 0 }
local records = call('HGETALL', records_key(job, unit))
for _, value in ipairs(records) do answer[#answer + 1] = value end
call('HSET', ticket_key(job, unit), 'sharded', #records / 2)
return answer
