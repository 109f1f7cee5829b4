#!lua flags=no-cluster
-- Creates a job, or joins the one that this submission created before.
--
-- ARGS  given fingerprint total:int chunks:int spec added queue nonce join_ms:int model
-- ARGS  needs needs_reason tenant weight:int most_open:int proposed
--       given: job id chosen by the user, or ''; fingerprint: hash of parameters and keys
--       chunks: number of chunks that must be staged under the nonce; spec: job document (JSON)
--       added: fields of it that version 0.1 does not read (JSON); needs: features, separated by
--       spaces; needs_reason: what the job waits for while no worker has them
--       tenant: whom the job belongs to, or ''; weight: of the tenant beside others
--       most_open: most images of the tenant that have not ended, 0 for any number
--       join_ms: how long after its end a job is joined; proposed: id of a job that is created
--       without a given one, or '' to derive it from its sequence
-- USES  feeding
-- Returns   {'CREATED', job id}
--           {'JOINED', job id}    the given id exists with these keys and parameters; or a job
--                                 without an id has them and runs or has just ended
--           {'CONFLICT', job id}  the given id exists with other keys or parameters
--           {'OVER', n}           the tenant has n images that have not ended; with these it would
--                                 have more than most_open
--           {'UNSTAGED'}          chunks are missing: expired, or lost by Redis
-- Repeated: joins; with the same nonce it returns the same as before.

local time = now()

-- The sequence never decreases, even after Redis has lost it: outputs in the bucket carry it.
local function next_sequence()
  local sequence = math.max(tonumber(call('GET', SEQUENCE) or '0') + 1, time)
  call('SET', SEQUENCE, sequence)
  return sequence
end

-- Returns an existing job. If it was made from the keys staged for this call, then this call created
-- it and the reply got lost.
local function joined(job)
  if call('HGET', job_key(job), 'manifest') == nonce then return { 'CREATED', job } end
  call('DEL', staged_key(nonce))
  return { 'JOINED', job }
end

-- Removes forgotten jobs from the list, which must not grow for ever: Redis expires jobs without
-- notice. From one forgotten job in ten on, each new job removes more than one.
local function drop_forgotten()
  for _, known in ipairs(call('ZRANDMEMBER', JOBS, 10)) do
    if call('EXISTS', job_key(known)) == 0 then call('ZREM', JOBS, known) end
  end
end

-- A cancelled job is never joined: a user who submits it again wants it processed.
local function may_join(job)
  local found = call('HMGET', job_key(job), 'state', 'finished_ms')
  if not found[1] or is_cancelled(job) then return false end
  return not found[2] or time - tonumber(found[2]) <= join_ms
end

-- Images of the tenant's jobs that have not ended; forgotten jobs are dropped from its list.
local function open_images()
  local open = 0
  for _, known in ipairs(call('ZRANGE', tenant_jobs_key(tenant), 0, -1)) do
    local found = call('HMGET', job_key(known), 'state', 'total', 'done', 'failed')
    if not found[1] then
      call('ZREM', tenant_jobs_key(tenant), known)
    elseif found[1] == RUNNING and not is_cancelled(known) then
      open = open + found[2] - found[3] - found[4]
    end
  end
  return open
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
if most_open > 0 then
  local open = open_images()
  if open + total > most_open then
    call('DEL', staged_key(nonce))
    return { 'OVER', open }
  end
end

local sequence = next_sequence()
local job = given
if given == '' then
  job = proposed
  if job == '' then job = string.format('%s-%x', string.sub(fingerprint, 1, 12), sequence) end
  call('SET', derived_key(fingerprint), job)
end
call('HSET', job_key(job), 'state', RUNNING, 'total', total, 'done', 0, 'failed', 0,
  'generation', 1, 'sequence', sequence, 'cursor', 0,
  'first_epoch', 1, 'highest_epoch', 0, 'queue', queue, 'spec', spec, 'model', model,
  'fingerprint', fingerprint, 'manifest', nonce, 'created_ms', time, 'added', added)
if needs ~= '' then call('HSET', job_key(job), 'needs', needs, 'needs_reason', needs_reason) end
call('RENAME', staged_key(nonce), part_key(job, 'manifest'))
call('PERSIST', part_key(job, 'manifest'))
-- Full length from the start: BITPOS returns 0 for a missing bitmap, whatever the range.
call('SETBIT', part_key(job, 'ended'), total - 1, 0)
drop_forgotten()
call('ZADD', JOBS, sequence, job)
if tenant ~= '' then
  call('HSET', job_key(job), 'tenant', tenant)
  call('HSET', WEIGHTS, tenant, weight)
  call('ZADD', tenant_jobs_key(tenant), sequence, job)
end
append_to_feeding(job, queue)
return { 'CREATED', job }
