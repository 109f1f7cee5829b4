#!lua flags=allow-oom
-- Grants a worker the lease of a ticket, with everything it needs to process the range.
--
-- ARGS  job unit epoch:int worker owner ttl_ms:int features rest_ms:int fresh_ms:int
--       owner: the worker id and a nonce of this claim; features: what the worker knows
--       rest_ms: how long a ticket is parked while no registered worker has the job's features
--       fresh_ms: how much longer the status shows that the job waits for one
-- USES  items tickets clock needs
-- Returns   {'GONE'}   the ticket does not exist, or its job has ended or never existed
--           {'STALE'}  the ticket was issued again since this message was sent, or the epoch is
--                      too high for Redis to have lost it
--           {'DUP'}    this worker holds it: the broker delivered the message twice
--           {'BUSY'}   another worker holds it
--           {'NEEDS'}  the job needs a feature that this worker does not know; the ticket is parked
--           {'OK' or 'CANCELLED', queue, spec, sequence, generation, manifest nonce,
--            bytes of the bitmap that cover the range, {index, attempts before, ...},
--            added fields of the spec, items of the job, generation of the last repair or 1}
--           CANCELLED grants the lease for closing only: write the shard, start no item.
-- Repeated: with the same owner, the same lease again, since a reply may get lost. A ticket that
--           was parked is stale.

local key, member = ticket_key(job, unit), member_of(job, unit)
local LOST_EPOCHS = 2 ^ 30 -- half of what shared/job/ticket.py accepts
local SOON_MS = 500 -- until a ticket is issued again that another registered worker can process

-- Attempts of the open items where they differ from the earlier generations.
local function attempts_before(first, stop)
  local attempts = {}
  if call('EXISTS', part_key(job, 'attempts')) == 0 then return attempts end
  local index = next_item(job, first, stop)
  while index do
    local before = call('HGET', part_key(job, 'attempts'), index)
    if before then
      attempts[#attempts + 1] = index
      attempts[#attempts + 1] = tonumber(before)
    end
    index = next_item(job, index + 1, stop)
  end
  return attempts
end

local found = call('HMGET', job_key(job), 'state', 'spec', 'sequence', 'generation', 'manifest',
  'added', 'total', 'repaired')
if found[1] ~= RUNNING and found[1] ~= FINISHING then return { 'GONE' } end
local ticket = call('HMGET', key, 'epoch', 'owner', 'worker', 'queue')
if not ticket[1] then return { 'GONE' } end
if epoch < tonumber(ticket[1]) then return { 'STALE' } end
-- An epoch this high must equal the stored one: a forged message could otherwise leave no room for
-- the next epoch, and no ticket is issued that often.
if epoch >= LOST_EPOCHS and epoch > tonumber(ticket[1]) then return { 'STALE' } end
-- An expired lease keeps its ticket until `expire` has counted the death; a claim that came first
-- would erase it.
if ticket[2] and ticket[2] ~= owner then
  return { ticket[3] == worker and 'DUP' or 'BUSY' }
end

-- A cancelled job is only closed, which needs no feature: it must not wait for a later version.
if not has_features(job, features) and not is_cancelled(job) then
  local is_elsewhere = is_served(job)
  if not is_elsewhere then wait_for_features(job, rest_ms + fresh_ms) end
  note_longest('rest', rest_ms)
  park(job, unit, now() + (is_elsewhere and SOON_MS or rest_ms))
  return { 'NEEDS' }
end

local queue = ticket[4] or fast_queue(job)
local queued_ms = call('ZSCORE', queued_key(queue), member)
if queued_ms and tonumber(queued_ms) > tonumber(call('HGET', CLAIMED, queue) or '0') then
  call('HSET', CLAIMED, queue, queued_ms)
end
vacate(job, unit)
set_epoch(job, unit, epoch)
call('HSET', key, 'owner', owner, 'worker', worker)
note_longest('lease', ttl_ms)
call('ZADD', LEASED, now() + ttl_ms, member)

if unit == MERGE then
  return { 'OK', queue, found[2], tonumber(found[3]), tonumber(found[4]), found[5], '', {},
    found[6] or '{}', tonumber(found[7]), tonumber(found[8] or 1) }
end
call('HSETNX', job_key(job), 'started_ms', now())
local first, stop = span(unit)
local bytes = call('GETRANGE', part_key(job, 'ended'),
  math.floor(first / 8), math.floor((stop - 1) / 8))
return { is_cancelled(job) and 'CANCELLED' or 'OK', queue, found[2], tonumber(found[3]),
  tonumber(found[4]), found[5], bytes, attempts_before(first, stop), found[6] or '{}',
  tonumber(found[7]), tonumber(found[8] or 1) }
