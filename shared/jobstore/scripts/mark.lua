#!lua flags=allow-oom
-- Records the ends of a group of items.
--
-- ARGS  job unit epoch:int owner bucket_ms:int buckets_kept:int
--       bucket_ms: length of a rate bucket; buckets_kept: rate buckets that are kept
-- EACH  index state record class verdict attempts:int
--       state: 'done' or 'failed'; record: JSON; class, verdict: '' if there is none
-- USES  items tickets
-- Returns   'OK'         recorded: continue
--           'DONE'       recorded, and the job, a light one, has ended: the lease is no longer needed
--           'CANCELLED'  recorded: start nothing new
--           'LOST'       nothing is recorded: the lease is no longer valid
-- Repeated: nothing is counted twice, and the first record stays.

if not holds(job, unit, epoch, owner) then return 'LOST' end

local generation = tonumber(call('HGET', job_key(job), 'generation'))
local has_attempts = call('EXISTS', part_key(job, 'attempts')) == 1
local counters, errors, verdicts, ended = { done = 0, failed = 0 }, {}, {}, {}

-- One HINCRBY per counter, regardless of the number of items.
local function add(key, counts)
  for name, count in pairs(counts) do
    if count > 0 then call('HINCRBY', key, name, count) end
  end
end

local function note_progress(items)
  if items == 0 then return end
  call('HDEL', job_key(job), 'waiting_for', 'waiting_until_ms') -- it no longer waits
  call('HDEL', ticket_key(job, unit), 'rests')
  local rate, bucket = part_key(job, 'rate'), math.floor(now() / bucket_ms)
  if call('HINCRBY', rate, bucket, items) > items then return end
  for _, old in ipairs(call('HKEYS', rate)) do -- a new bucket: drop those outside the window
    if tonumber(old) <= bucket - buckets_kept then call('HDEL', rate, old) end
  end
end

for index, state, record, class, verdict, attempts in each() do
  local failed = state == 'failed'
  if end_item(job, unit, index, failed, record) then
    counters[state] = counters[state] + 1
    ended[#ended + 1] = { index, state, verdict, class }
    -- Also for done items: they may be opened again if their outputs are lost.
    if has_attempts or attempts ~= generation then
      note_attempts(job, index, attempts, generation)
    end
    if failed then
      errors[class] = (errors[class] or 0) + 1
    elseif verdict ~= '' then
      verdicts[verdict] = (verdicts[verdict] or 0) + 1
    end
  end
end
add(job_key(job), counters)
add(part_key(job, 'errors'), errors)
add(part_key(job, 'verdicts'), verdicts)
note_progress(counters.done + counters.failed)
tell(job, ended)
if is_light(job) and not next_item(job, 0, tonumber(call('HGET', job_key(job), 'total'))) then
  end_light(job)
  return 'DONE'
end
return is_cancelled(job) and 'CANCELLED' or 'OK'
