#!lua flags=no-cluster
-- Creates a light job with its keys and issues its only ticket, or finds the one with the same id.
--
-- ARGS  job fingerprint total:int spec added needs model tenant chunk kept_ms:int channel
--       needs: features, separated by spaces; chunk: all keys, packed
--       kept_ms: how long Redis keeps the job if no worker processes it
--       channel: where the end of the job is published
-- USES  items tickets
-- Returns   {'CREATED', issued tickets flat: job, unit, epoch, queue}
--           {'JOINED'}    the job exists with these keys and parameters
--           {'CONFLICT'}  the job exists with others
-- Repeated: joins; the channel of the latest call counts.

local key = job_key(job)
local known = call('HGET', key, 'fingerprint')
if known and known ~= fingerprint then return { 'CONFLICT' } end
call('HSET', key, 'channel', channel)
if known then return { 'JOINED' } end

call('HSET', key, 'state', RUNNING, 'total', total, 'done', 0, 'failed', 0,
  'generation', 1, 'sequence', now(), 'cursor', total, 'first_epoch', 1, 'highest_epoch', 0,
  'queue', INTERACTIVE, 'spec', spec, 'added', added, 'needs', needs, 'model', model,
  'fingerprint', fingerprint, 'manifest', job, 'created_ms', now(), 'tenant', tenant, 'light', 1)
call('HSET', part_key(job, 'manifest'), 0, chunk)
call('SETBIT', part_key(job, 'ended'), total - 1, 0)
local answer = { 'CREATED' }
issue(job, string.format('0-%d', total), INTERACTIVE, answer)
expire_light(job, kept_ms)
return answer
