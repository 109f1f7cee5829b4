-- Names, keys, time and leases: the loader puts this file in front of every script.
--
-- Scripts get everything in arguments and build key names here, because most of them meet jobs
-- that the caller cannot name in advance (Redis Cluster is not supported). `layout.py` documents
-- the keys. All times are the server's, in milliseconds: no worker's clock matters.
--
-- An open ticket is a member of its job's `tickets` and in exactly one place: queued (a message is
-- on its way), leased (a worker holds it) or parked (it waits until a given time).

local call = redis.call

local INTERACTIVE, RECOVERY = 'rmbg.interactive', 'rmbg.recovery' -- as in shared/broker/queues.py
local BULK, SUSPECT = 'rmbg.bulk', 'rmbg.suspect'
local RUNNING, FINISHING = 'running', 'finishing' -- job states, as in shared/job/spec.py
local DONE, CANCELLED = 'done', 'cancelled'
local MERGE = 'merge' -- as in shared/job/ticket.py

local JOBS, SEQUENCE = 'rmbg:jobs', 'rmbg:sequence'
local LEASED, PARKED, CLAIMED = 'rmbg:leased', 'rmbg:parked', 'rmbg:claimed'
local WORKERS, WORKER_INFOS, EVENTS = 'rmbg:workers', 'rmbg:worker_infos', 'rmbg:events'
local UNSERVED = 'rmbg:unserved'
local WEIGHTS, BURSTS, CREDITS = 'rmbg:weights', 'rmbg:bursts', 'rmbg:credits'
local TOTALS, LONGEST, TURN = 'rmbg:totals', 'rmbg:longest', 'rmbg:turn'
local JOB_PARTS = { -- what remains of a job when no ticket is open
  'ended', 'failed', 'manifest', 'shards', 'errors', 'verdicts', 'attempts', 'rate',
}

local function queued_key(queue) return 'rmbg:queued:' .. queue end
-- Jobs of a tenant with items to feed; see `_feeding.lua` for tenant ''.
local function feeding_key(queue, tenant)
  return 'rmbg:feeding:' .. queue .. (tenant == '' and '' or ':' .. tenant)
end
local function turns_key(queue) return 'rmbg:turns:' .. queue end
local function served_key(queue) return 'rmbg:served:' .. queue end
local function staged_key(nonce) return 'rmbg:staged:' .. nonce end
local function derived_key(fingerprint) return 'rmbg:derived:' .. fingerprint end
local function job_key(job) return 'rmbg:job:' .. job end
local function part_key(job, part) return 'rmbg:job:' .. job .. ':' .. part end
local function ticket_key(job, unit) return 'rmbg:job:' .. job .. ':ticket:' .. unit end
local function records_key(job, unit) return 'rmbg:job:' .. job .. ':records:' .. unit end

local function requests_key(name) return 'rmbg:requests:' .. name end
local function tenant_jobs_key(tenant) return 'rmbg:tenant:' .. tenant .. ':jobs' end

local function now()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Ticket name in the places that hold tickets of all jobs; neither part can contain '|'.
local function member_of(job, unit) return job .. '|' .. unit end

local function ticket_of(member)
  return string.match(member, '^(.*)|(.*)$')
end

-- First index of a range and the one after its last; nil for the merge ticket.
local function span(unit)
  local first, stop = string.match(unit, '^(%d+)%-(%d+)$')
  return tonumber(first), tonumber(stop)
end

local function is_light(job) return call('HEXISTS', job_key(job), 'light') == 1 end

local function is_cancelled(job)
  return call('HGET', job_key(job), 'cancelled') == '1'
end

-- Whether a lease is still valid. Every script that acts on a lease checks this first: job state,
-- ticket, epoch, owner. An epoch above the stored one is accepted: Redis has lost recent writes,
-- and the owner's nonce still identifies the holder.
local function holds(job, unit, epoch, owner)
  local state = call('HGET', job_key(job), 'state')
  if state ~= RUNNING and state ~= FINISHING then return false end
  local ticket = call('HMGET', ticket_key(job, unit), 'epoch', 'owner')
  if not ticket[1] then return false end
  if epoch < tonumber(ticket[1]) then return false end
  return ticket[2] == owner
end
