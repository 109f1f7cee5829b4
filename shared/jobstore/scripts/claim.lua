#!lua flags=allow-oom
-- Gives a ticket to a worker, with all it needs to know about the range.
--
-- ARGV  1 job   2 unit   3 epoch   4 worker id   5 owner (worker id and a nonce of this claim)
--       6 time to live of the lease, in ms
-- Answers  {'GONE'}    no such ticket, or its job has ended or was never made
--          {'STALE'}   the ticket was issued again since this message was sent, or its epoch is
--                      one that Redis cannot have forgotten
--          {'DUP'}     this very worker holds it: the broker delivered the message again
--          {'BUSY'}    another worker holds it
--          {'OK' or 'CANCELLED', queue, spec, sequence, generation, manifest nonce,
--           bytes of the bitmap that cover the range, {index, attempts before, ...}}
-- CANCELLED grants the lease for closing only: shard what is recorded, start no item.
-- Repeated with the same owner: the same lease again, as a reply may be lost on its way.

local job, unit, epoch, worker, owner = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local ttl_ms = tonumber(ARGV[6])
local key, member = ticket_key(job, unit), member_of(job, unit)
local EPOCHS_OF_THE_FUTURE = 2 ^ 30 -- half of what shared/ticket.py takes

-- Attempts of the items that are left, where they are not what the generation says.
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

local found = call('HMGET', job_key(job), 'state', 'spec', 'sequence', 'generation', 'manifest')
if found[1] ~= RUNNING and found[1] ~= FINISHING then return { 'GONE' } end
local ticket = call('HMGET', key, 'epoch', 'owner', 'worker', 'queue')
if not ticket[1] then return { 'GONE' } end
if epoch < tonumber(ticket[1]) then return { 'STALE' } end
-- From here on up an epoch must be ours: one that a message made up could leave no room for the
-- next, and no ticket is issued that often.
if epoch >= EPOCHS_OF_THE_FUTURE and epoch > tonumber(ticket[1]) then return { 'STALE' } end
-- A lease that has run out keeps its ticket until `expire` has counted the death; whoever comes
-- first would otherwise wipe that out.
if ticket[2] and ticket[2] ~= owner then
  return { ticket[3] == worker and 'DUP' or 'BUSY' }
end

local queue = ticket[4] or fast_lane(job)
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
  return { 'OK', queue, found[2], tonumber(found[3]), tonumber(found[4]), found[5], '', {} }
end
call('HSETNX', job_key(job), 'started_ms', now())
local first, stop = span(unit)
local bytes = call('GETRANGE', part_key(job, 'ended'),
  math.floor(first / 8), math.floor((stop - 1) / 8))
return { is_cancelled(job) and 'CANCELLED' or 'OK', queue, found[2], tonumber(found[3]),
  tonumber(found[4]), found[5], bytes, attempts_before(first, stop) }
