#!lua flags=no-cluster
-- Makes a job, or joins the one that this submission made before.
--
-- ARGV  1 job id given by the user, or ''   2 fingerprint of parameters and keys
--       3 number of items                   4 chunks that must lie staged
--       5 the job's document (JSON)         6 queue of its tickets
--       7 nonce under which chunks lie      8 how long after its end it is joined, in ms
--       9 name of its model
-- Answers  {'CREATED', job id}
--          {'JOINED', job id}     the given id is known with these keys and parameters, or they
--                                 are those of a job without an id that runs or is just done
--          {'CONFLICT', job id}   the given id means other keys or parameters
--          {'UNSTAGED'}           chunks are missing: staged too long ago, or lost by Redis
-- Repeated: joins; with the same nonce it answers again what it answered.

local given, fingerprint, total, chunks = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local spec, queue, nonce, join_ms = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local time = now()

-- The sequence never goes back, not even when Redis lost it: pictures in the bucket carry it.
local function next_sequence()
  local sequence = math.max(tonumber(call('GET', SEQUENCE) or '0') + 1, time)
  call('SET', SEQUENCE, sequence)
  return sequence
end

-- Answers that the job is there already. If it is made of the very keys staged for this call, then
-- this call made it, and the answer got lost.
local function joined(job)
  if call('HGET', job_key(job), 'manifest') == nonce then return { 'CREATED', job } end
  call('DEL', staged_key(nonce))
  return { 'JOINED', job }
end

-- Nobody is told when Redis forgets a job, but the list of all jobs must not grow for ever. Of those
-- in it that are forgotten, more than one is dropped with each new job once they are one in ten.
local function drop_forgotten()
  for _, known in ipairs(call('ZRANDMEMBER', JOBS, 10)) do
    if call('EXISTS', job_key(known)) == 0 then call('ZREM', JOBS, known) end
  end
end

-- A cancelled job is never joined: who submits it again wants it done.
local function may_join(job)
  local found = call('HMGET', job_key(job), 'state', 'finished_ms')
  if not found[1] or is_cancelled(job) then return false end
  return not found[2] or time - tonumber(found[2]) <= join_ms
end

if given ~= '' then
  local known = call('HGET', job_key(given), 'fingerprint')
  if known == fingerprint then return joined(given) end
  if known then return { 'CONFLICT', given } end
else
  local latest = call('GET', derived_key(fingerprint))
  if latest and may_join(latest) then return joined(latest) end
end

if call('HLEN', staged_key(nonce)) ~= chunks then return { 'UNSTAGED' } end

local sequence = next_sequence()
local job = given
if given == '' then
  job = string.format('%s-%x', string.sub(fingerprint, 1, 12), sequence)
  call('SET', derived_key(fingerprint), job)
end
call('HSET', job_key(job), 'state', RUNNING, 'total', total, 'done', 0, 'failed', 0,
  'generation', 1, 'sequence', sequence, 'cursor', 0,
  'first_epoch', 1, 'highest_epoch', 0, 'queue', queue, 'spec', spec, 'model', ARGV[9],
  'fingerprint', fingerprint, 'manifest', nonce, 'created_ms', time)
call('RENAME', staged_key(nonce), part_key(job, 'manifest'))
call('PERSIST', part_key(job, 'manifest'))
-- At its full length from the start: BITPOS answers 0 for a bitmap that is not there, whatever
-- range it was asked about.
call('SETBIT', part_key(job, 'ended'), total - 1, 0)
drop_forgotten()
call('ZADD', JOBS, sequence, job)
call('RPUSH', feeding_key(queue), job)
return { 'CREATED', job }
