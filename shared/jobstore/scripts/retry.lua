#!lua flags=no-cluster
-- Opens a done job again for its failed items only.
--
-- ARGV  1 job
-- Answers  {the job's state, number of items that will be fed again}
--          {}   no such job
-- Anything but 'done' as state, or no failed item: nothing happens.
-- Repeated: the state is not 'done' any more, so nothing happens.

local job = ARGV[1]
local key = job_key(job)
local found = call('HMGET', key, 'state', 'failed', 'highest_epoch', 'queue', 'fingerprint')
if not found[1] then return {} end
local failed = tonumber(found[2])
if found[1] ~= DONE or failed == 0 then return { found[1], 0 } end

-- The failed are among the ended, so this clears exactly their bits.
call('BITOP', 'XOR', part_key(job, 'ended'), part_key(job, 'ended'), part_key(job, 'failed'))
call('DEL', part_key(job, 'failed'), part_key(job, 'errors'), part_key(job, 'rate'))
call('HINCRBY', key, 'generation', 1)
-- Epochs go on where they stopped, or this generation's shards would replace earlier ones.
call('HSET', key, 'state', RUNNING, 'failed', 0, 'cursor', 0, 'first_epoch', found[3] + 1)
call('HDEL', key, 'finished_ms', 'started_ms')
call('RPUSH', feeding_key(found[4]), job)

call('PERSIST', key)
for _, part in ipairs(JOB_PARTS) do call('PERSIST', part_key(job, part)) end
if call('GET', derived_key(found[5])) == job then call('PERSIST', derived_key(found[5])) end
return { DONE, failed }
