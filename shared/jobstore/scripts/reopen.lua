#!lua flags=no-cluster
-- Opens a done job again for some of its items: the failed ones, or done ones with lost outputs.
--
-- ARGS  job bits generation
--       bits: '' for the failed items, or a bitmap of done ones
--       generation: the one in which the items of the bitmap were checked
-- EACH  verdict items:int
--       number of items of the bitmap with that verdict
-- USES  feeding
-- Returns   {state of the job, number of items that will be fed again}
--           {'changed'}  the generation differs, or the bitmap holds items that are not done
--           {}           the job does not exist
--           Nothing changes unless the state is 'done' and there is an item to feed again.
-- Repeated: nothing happens, since the state is no longer 'done'.

local key, ended, failed = job_key(job), part_key(job, 'ended'), part_key(job, 'failed')
local found = call('HMGET', key, 'state', 'failed', 'highest_epoch', 'queue', 'fingerprint',
  'generation')

-- Both subtract the items from the counters; they return their number and the key of their bits.

local function take_failed()
  call('HSET', key, 'failed', 0)
  call('DEL', part_key(job, 'errors'))
  return tonumber(found[2]), failed
end

local function take_done()
  local wanted, scratch = part_key(job, 'wanted'), part_key(job, 'scratch')
  call('SET', wanted, bits)
  local count = call('BITCOUNT', wanted)
  call('BITOP', 'AND', scratch, wanted, ended)
  local known = call('BITCOUNT', scratch)
  call('BITOP', 'AND', scratch, wanted, failed)
  known = known - call('BITCOUNT', scratch)
  call('DEL', scratch)
  if found[6] ~= generation or known ~= count then count = nil end
  if count and count > 0 then
    call('HINCRBY', key, 'done', -count)
    for verdict, items in each() do
      local left = call('HINCRBY', part_key(job, 'verdicts'), verdict, -items)
      if left <= 0 then call('HDEL', part_key(job, 'verdicts'), verdict) end
    end
  end
  return count, wanted
end

if not found[1] then return {} end
if found[1] ~= DONE or (bits == '' and found[2] == '0') then return { found[1], 0 } end
local take = bits == '' and take_failed or take_done
local count, taken = take()
if not count or count == 0 then
  call('DEL', taken)
  return count and { DONE, 0 } or { 'changed' }
end

call('BITOP', 'XOR', ended, ended, taken) -- clears their bits: all of them have ended
call('DEL', taken, part_key(job, 'rate'))
local opened = call('HINCRBY', key, 'generation', 1)
-- Outputs of failed items are kept; a repair has all outputs of its items written again.
if bits ~= '' then call('HSET', key, 'repaired', opened) end
-- Epochs continue, or the shards of this generation would replace earlier ones.
call('HSET', key, 'state', RUNNING, 'cursor', 0, 'first_epoch', found[3] + 1)
call('HDEL', key, 'finished_ms', 'started_ms', 'ended_without')
append_to_feeding(job, found[4])

call('PERSIST', key)
for _, part in ipairs(JOB_PARTS) do call('PERSIST', part_key(job, part)) end
if call('GET', derived_key(found[5])) == job then call('PERSIST', derived_key(found[5])) end
return { DONE, count }
