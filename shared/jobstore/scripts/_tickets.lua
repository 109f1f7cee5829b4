-- Tickets: epochs, and the moves between queued, leased and parked.
-- USES  items

local LIGHT_KEPT_MS = 3600 * 1000 -- a light job after its end

-- Removes a ticket from its place and from its owner.
local function vacate(job, unit)
  local member, ticket = member_of(job, unit), ticket_key(job, unit)
  local queue = call('HGET', ticket, 'queue')
  if queue then call('ZREM', queued_key(queue), member) end
  call('ZREM', LEASED, member)
  call('ZREM', PARKED, member)
  call('HDEL', ticket, 'owner', 'worker', 'trying', 'trying_record', 'sharded')
end

-- Sets the epoch of a ticket. The job keeps its highest epoch, so that no later generation reuses
-- the name of a shard.
local function set_epoch(job, unit, epoch)
  call('HSET', ticket_key(job, unit), 'epoch', epoch)
  local highest = tonumber(call('HGET', job_key(job), 'highest_epoch') or '0')
  if epoch > highest then call('HSET', job_key(job), 'highest_epoch', epoch) end
end

-- Opens the ticket if it does not exist; makes every message already sent for it stale.
local function raise_epoch(job, unit)
  local epoch = call('HGET', ticket_key(job, unit), 'epoch')
  if epoch then
    epoch = tonumber(epoch) + 1
  else
    call('SADD', part_key(job, 'tickets'), unit)
    epoch = tonumber(call('HGET', job_key(job), 'first_epoch'))
  end
  set_epoch(job, unit, epoch)
  return epoch
end

-- Queues a ticket and appends it to *issued* (flat: job, unit, epoch, queue) for the caller to
-- publish. If the caller dies first, the ticket counts as lost after a while and is issued again.
local function issue(job, unit, queue, issued)
  vacate(job, unit)
  local epoch = raise_epoch(job, unit)
  call('HSET', ticket_key(job, unit), 'queue', queue)
  call('ZADD', queued_key(queue), now(), member_of(job, unit))
  for _, value in ipairs({ job, unit, epoch, queue }) do issued[#issued + 1] = value end
end

-- Parks a ticket; `reissue` issues it at *until_ms*.
local function park(job, unit, until_ms)
  vacate(job, unit)
  raise_epoch(job, unit)
  call('ZADD', PARKED, until_ms, member_of(job, unit))
end

local function drop(job, unit)
  vacate(job, unit)
  call('DEL', ticket_key(job, unit), records_key(job, unit))
  call('SREM', part_key(job, 'tickets'), unit)
end

-- Queue of tickets that must not wait behind bulk tickets.
local function fast_queue(job)
  if call('HGET', job_key(job), 'queue') == INTERACTIVE then return INTERACTIVE end
  return RECOVERY
end

-- Queue of a ticket that is issued again; a suspect ticket stays in the suspect queue.
local function next_queue(job, unit)
  if call('HGET', ticket_key(job, unit), 'queue') == SUSPECT then return SUSPECT end
  return fast_queue(job)
end

-- Whether all range tickets are closed and none will follow.
local function is_ready_to_merge(job)
  if call('SCARD', part_key(job, 'tickets')) > 0 then return false end
  local found = call('HMGET', job_key(job), 'state', 'cursor', 'total')
  if found[1] ~= RUNNING and found[1] ~= FINISHING then return false end
  return is_cancelled(job) or not next_item(job, tonumber(found[2]), tonumber(found[3]))
end

-- Lets Redis forget a light job, with its ticket and records, after a time.
local function expire_light(job, kept_ms)
  local unit = string.format('0-%d', call('HGET', job_key(job), 'total'))
  for _, key in ipairs({ job_key(job), records_key(job, unit), ticket_key(job, unit),
    part_key(job, 'tickets') }) do
    call('PEXPIRE', key, kept_ms)
  end
  for _, part in ipairs(JOB_PARTS) do call('PEXPIRE', part_key(job, part), kept_ms) end
end

-- Ends a light job: its records stay where they are. Whoever waits for it is told.
local function end_light(job)
  local key = job_key(job)
  local found = call('HMGET', key, 'total', 'channel')
  local unit = string.format('0-%d', found[1])
  vacate(job, unit)
  call('DEL', ticket_key(job, unit), part_key(job, 'tickets'))
  call('HSET', key, 'state', is_cancelled(job) and CANCELLED or DONE, 'finished_ms', now())
  expire_light(job, LIGHT_KEPT_MS)
  redis.pcall('PUBLISH', found[2], job) -- a user without this right makes callers ask instead
end

local function merge_if_ready(job, issued)
  if not is_ready_to_merge(job) then return end
  if is_light(job) then return end_light(job) end
  call('HSET', job_key(job), 'state', FINISHING)
  issue(job, MERGE, fast_queue(job), issued)
end

-- Issues a ticket again that no worker processes. A ticket of a cancelled job is dropped unless it
-- has records. If no item is left, the next worker only writes the shard, so the range is not
-- suspect.
local function put_back(job, unit, queue, issued)
  if unit ~= MERGE then
    local cancelled, first, stop = is_cancelled(job), span(unit)
    if cancelled and call('EXISTS', records_key(job, unit)) == 0 then
      drop(job, unit)
      return merge_if_ready(job, issued)
    end
    local is_ended = cancelled or left_to_do(job, first, stop) == 0
    if is_ended and is_light(job) then return end_light(job) end
    if is_ended then queue = fast_queue(job) end
  end
  issue(job, unit, queue, issued)
end
