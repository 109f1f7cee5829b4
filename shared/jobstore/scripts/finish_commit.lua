#!lua flags=allow-oom
-- Accepts a range's shard, and drops its ticket and records. The last one issues the merge.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner
-- Answers  {'OK', issued tickets flat: job, unit, epoch, queue}
--          {'LOST'}   the lease does not stand any more; or the range may not be closed, or it
--                     has records that the last `finish_begin` did not hand out. Nothing happens.
-- Repeated: LOST, since the ticket is gone.

local job, unit, epoch = ARGV[1], ARGV[2], ARGV[3]
if not holds(job, unit, epoch, ARGV[4]) then return { 'LOST' } end

local first, stop = span(unit)
if left_to_do(job, first, stop) > 0 and not is_cancelled(job) then return { 'LOST' } end
local recorded = call('HLEN', records_key(job, unit))
if tonumber(call('HGET', ticket_key(job, unit), 'sharded')) ~= recorded then return { 'LOST' } end

if recorded > 0 then call('RPUSH', part_key(job, 'shards'), unit .. ':' .. epoch) end
drop(job, unit)
local answer = { 'OK' }
merge_if_ready(job, answer)
return answer
