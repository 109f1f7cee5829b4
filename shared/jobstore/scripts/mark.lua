#!lua flags=allow-oom
-- Records the ends of a group of items.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner   5 length of a rate bucket, in ms
--       6 rate buckets that are kept
--       then for each item: index, 'done' or 'failed', record (JSON), error class or '',
--       verdict or '', attempts
-- Answers  'OK'         recorded: go on
--          'CANCELLED'  recorded: start nothing new
--          'LOST'       nothing is recorded: the lease does not stand any more
-- Repeated: nothing is counted twice, and the first record stays.

local job, unit = ARGV[1], ARGV[2]
local bucket_ms, buckets_kept = tonumber(ARGV[5]), tonumber(ARGV[6])
if not holds(job, unit, ARGV[3], ARGV[4]) then return 'LOST' end

local generation = tonumber(call('HGET', job_key(job), 'generation'))
local has_attempts = call('EXISTS', part_key(job, 'attempts')) == 1
local counters, errors, verdicts = { done = 0, failed = 0 }, {}, {}

-- One HINCRBY for each counter, however many items came.
local function add(key, counts)
  for name, count in pairs(counts) do
    if count > 0 then call('HINCRBY', key, name, count) end
  end
end

local function note_progress(ended)
  if ended == 0 then return end
  call('HDEL', job_key(job), 'waiting_for', 'waiting_until_ms') -- whatever it was, it is over
  local rate, bucket = part_key(job, 'rate'), math.floor(now() / bucket_ms)
  if call('HINCRBY', rate, bucket, ended) > ended then return end
  for _, old in ipairs(call('HKEYS', rate)) do -- a bucket was begun: drop those behind the window
    if tonumber(old) <= bucket - buckets_kept then call('HDEL', rate, old) end
  end
end

local function mark(index, state, record, class, verdict, attempts)
  local failed = state == 'failed'
  if not end_item(job, unit, index, failed, record) then return end
  counters[state] = counters[state] + 1
  -- Of done ones too: they may be opened again, should their pictures get lost.
  if has_attempts or attempts ~= generation then note_attempts(job, index, attempts, generation) end
  if failed then
    errors[class] = (errors[class] or 0) + 1
  elseif verdict ~= '' then
    verdicts[verdict] = (verdicts[verdict] or 0) + 1
  end
end

for i = 7, #ARGV, 6 do
  mark(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], tonumber(ARGV[i + 5]))
end
add(job_key(job), counters)
add(part_key(job, 'errors'), errors)
add(part_key(job, 'verdicts'), verdicts)
note_progress(counters.done + counters.failed)
return is_cancelled(job) and 'CANCELLED' or 'OK'
