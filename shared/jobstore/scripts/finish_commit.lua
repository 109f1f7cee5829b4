#!lua flags=allow-oom
-- Accepts the shard of a range and drops its ticket and records. The last one issues the merge.
--
-- ARGS  job unit epoch:int owner
-- USES  items tickets
-- Returns   {'OK', issued tickets flat: job, unit, epoch, queue}
--           {'LOST'} and changes nothing: the lease is no longer valid, the range may not be
--           closed, or it has records that the last `finish_begin` did not return
-- Repeated: LOST, since the ticket no longer exists.

if not holds(job, unit, epoch, owner) then return { 'LOST' } end

local first, stop = span(unit)
if left_to_do(job, first, stop) > 0 and not is_cancelled(job) then return { 'LOST' } end
local recorded = call('HLEN', records_key(job, unit))
if tonumber(call('HGET', ticket_key(job, unit), 'sharded')) ~= recorded then return { 'LOST' } end

if recorded > 0 then call('RPUSH', part_key(job, 'shards'), unit .. ':' .. epoch) end
drop(job, unit)
local answer = { 'OK' }
merge_if_ready(job, answer)
return answer
