-- What the scripts share; the loader puts this file before each of them.
--
-- Scripts get everything in ARGV and build key names here, because most of them meet jobs that
-- their caller could not name beforehand (Redis Cluster is not supported). The table of keys and
-- what they hold stands in `layout.py`. All times are the server's, in milliseconds: no worker's
-- clock matters.
--
-- A ticket, while it is open, is a member of its job's `tickets` and in exactly one place:
-- queued (a message is on its way), leased (a worker holds it) or parked (it rests until a time).

local call = redis.call

local INTERACTIVE, RECOVERY = 'rmbg.interactive', 'rmbg.recovery' -- queues, as in shared/queue.py
local BULK, SUSPECT = 'rmbg.bulk', 'rmbg.suspect'
local RUNNING, FINISHING = 'running', 'finishing' -- states, as in shared/job.py
local DONE, CANCELLED = 'done', 'cancelled'
local MERGE = 'merge' -- as in shared/ticket.py

local JOBS, SEQUENCE = 'rmbg:jobs', 'rmbg:sequence'
local LEASED, PARKED, CLAIMED = 'rmbg:leased', 'rmbg:parked', 'rmbg:claimed'
local WORKERS, WORKER_INFOS, EVENTS = 'rmbg:workers', 'rmbg:worker_infos', 'rmbg:events'
local TOTALS, LONGEST, TURN = 'rmbg:totals', 'rmbg:longest', 'rmbg:turn'
local JOB_PARTS = { -- all that is left of a job when no ticket is open
  'ended', 'failed', 'manifest', 'shards', 'errors', 'verdicts', 'attempts', 'rate',
}

local function queued_key(queue) return 'rmbg:queued:' .. queue end
local function feeding_key(queue) return 'rmbg:feeding:' .. queue end
local function staged_key(nonce) return 'rmbg:staged:' .. nonce end
local function derived_key(fingerprint) return 'rmbg:derived:' .. fingerprint end
local function job_key(job) return 'rmbg:job:' .. job end
local function part_key(job, part) return 'rmbg:job:' .. job .. ':' .. part end
local function ticket_key(job, unit) return 'rmbg:job:' .. job .. ':ticket:' .. unit end
local function records_key(job, unit) return 'rmbg:job:' .. job .. ':records:' .. unit end

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Notes how far ahead of the clock a kind of time is put at most; `bring_back` asks.
local function note_longest(kind, ms)
  if ms > tonumber(call('HGET', LONGEST, kind) or '0') then call('HSET', LONGEST, kind, ms) end
end

-- What lies further ahead than anything puts it was put there before the server's clock was set
-- back. It would stay where it is for as long as the clock jumped, so it is brought nearer.
local function bring_back(place, longest_ms)
  local latest_ms = now() + longest_ms
  for _, member in ipairs(call('ZRANGEBYSCORE', place, '(' .. latest_ms, '+inf')) do
    call('ZADD', place, latest_ms, member)
  end
end

-- A ticket's name in the places that hold tickets of all jobs; neither part can contain '|'.
local function member_of(job, unit) return job .. '|' .. unit end

local function ticket_of(member)
  return string.match(member, '^(.*)|(.*)$')
end

-- First index of a range and the one after its last; none for the merge ticket.
local function span(unit)
  local first, stop = string.match(unit, '^(%d+)%-(%d+)$')
  return tonumber(first), tonumber(stop)
end

local function is_cancelled(job)
  return call('HGET', job_key(job), 'cancelled') == '1'
end

-- How many items of a range have not ended.
local function left_to_do(job, first, stop)
  return stop - first - call('BITCOUNT', part_key(job, 'ended'), first, stop - 1, 'BIT')
end

-- First item at or after *cursor* that has not ended, or nil.
local function next_item(job, cursor, total)
  if cursor >= total then return nil end
  local index = call('BITPOS', part_key(job, 'ended'), 0, cursor, total - 1, 'BIT')
  if index >= 0 then return index end
  return nil
end

-- Whether a lease still stands. Everything that acts on a lease asks this first, in this order:
-- job, ticket, epoch, owner. An epoch above ours counts as equal: Redis has gone back in time,
-- and the owner's nonce tells apart whoever holds the ticket now.
local function holds(job, unit, epoch, owner)
  local state = call('HGET', job_key(job), 'state')
  if state ~= RUNNING and state ~= FINISHING then return false end
  local ticket = call('HMGET', ticket_key(job, unit), 'epoch', 'owner')
  if not ticket[1] then return false end
  if tonumber(epoch) < tonumber(ticket[1]) then return false end
  return ticket[2] == owner
end

-- Takes a ticket out of the place it is in, and out of its owner's hands.
local function vacate(job, unit)
  local member, ticket = member_of(job, unit), ticket_key(job, unit)
  local queue = call('HGET', ticket, 'queue')
  if queue then call('ZREM', queued_key(queue), member) end
  call('ZREM', LEASED, member)
  call('ZREM', PARKED, member)
  call('HDEL', ticket, 'owner', 'worker', 'trying', 'trying_record', 'sharded')
end

-- Sets a ticket's epoch; the job remembers its highest, so that no later generation names a
-- shard like an earlier one did.
local function set_epoch(job, unit, epoch)
  call('HSET', ticket_key(job, unit), 'epoch', epoch)
  local highest = tonumber(call('HGET', job_key(job), 'highest_epoch') or '0')
  if epoch > highest then call('HSET', job_key(job), 'highest_epoch', epoch) end
end

-- Opens the ticket if there is none; every message for it that is already out becomes stale.
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

-- Queues a ticket and appends it to *issued* (job, unit, epoch, queue, flat), which the caller
-- publishes. Should it die before it has, the ticket counts as lost after a while.
local function issue(job, unit, queue, issued)
  vacate(job, unit)
  local epoch = raise_epoch(job, unit)
  call('HSET', ticket_key(job, unit), 'queue', queue)
  call('ZADD', queued_key(queue), now(), member_of(job, unit))
  for _, value in ipairs({ job, unit, epoch, queue }) do issued[#issued + 1] = value end
end

-- Lets a ticket rest: `reissue` issues it when the time has come.
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

-- The lane of tickets that should not wait behind the job's (or other jobs') bulk.
local function fast_lane(job)
  if call('HGET', job_key(job), 'queue') == INTERACTIVE then return INTERACTIVE end
  return RECOVERY
end

-- Where a ticket goes that was issued before: suspects stay among themselves.
local function next_lane(job, unit)
  if call('HGET', ticket_key(job, unit), 'queue') == SUSPECT then return SUSPECT end
  return fast_lane(job)
end

-- Whether all item tickets are closed and none is to come.
local function is_ready_to_merge(job)
  if call('SCARD', part_key(job, 'tickets')) > 0 then return false end
  local found = call('HMGET', job_key(job), 'state', 'cursor', 'total')
  if found[1] ~= RUNNING and found[1] ~= FINISHING then return false end
  return is_cancelled(job) or not next_item(job, tonumber(found[2]), tonumber(found[3]))
end

local function merge_if_ready(job, issued)
  if not is_ready_to_merge(job) then return end
  call('HSET', job_key(job), 'state', FINISHING)
  issue(job, MERGE, fast_lane(job), issued)
end

-- Issues again a ticket that nobody works on. Of a cancelled job it is only needed if it has
-- records; and where no item is left, whoever gets it goes straight to the shard, so there is
-- nobody to suspect.
local function put_back(job, unit, queue, issued)
  if unit ~= MERGE then
    local cancelled, first, stop = is_cancelled(job), span(unit)
    if cancelled and call('EXISTS', records_key(job, unit)) == 0 then
      drop(job, unit)
      return merge_if_ready(job, issued)
    end
    if cancelled or left_to_do(job, first, stop) == 0 then queue = fast_lane(job) end
  end
  issue(job, unit, queue, issued)
end

-- Notes how often an item was tried, in all generations, where they are not as many as those;
-- `claim` hands it on.
local function note_attempts(job, index, attempts, generation)
  if attempts == generation then
    call('HDEL', part_key(job, 'attempts'), index)
  else
    call('HSET', part_key(job, 'attempts'), index, attempts)
  end
end

-- Records an item's end. False, and nothing happens, if it had ended before: an item counts when
-- its bit goes from 0 to 1.
local function end_item(job, unit, index, failed, record)
  if call('SETBIT', part_key(job, 'ended'), index, 1) == 1 then return false end
  if failed then call('SETBIT', part_key(job, 'failed'), index, 1) end
  call('HSET', records_key(job, unit), index, record)
  return true
end
