-- Whose job is fed next: tenants in turn by weight, and the jobs of a tenant in turn.
--
-- A tenant's served time is the number of its items that were issued, divided by its weight. The
-- tenant with the least is next. One without a job keeps its place until it is next, so that many
-- small jobs get no more than a large one; it comes back at the served time of the others, so that
-- nobody saves up turns.
--
-- Jobs without a tenant are those of tenant ''. Their list is that of version 0.1, whose producers
-- and workers know no other.

local BURST = 64 -- as MAX_INTERACTIVE_ITEMS in shared/job/spec.py

local function tenant_of(job) return call('HGET', job_key(job), 'tenant') or '' end

local function weight_of(tenant) return tonumber(call('HGET', WEIGHTS, tenant) or '1') end

-- Served time of the tenant that is next, or of the latest one if none waits.
local function served_now(queue)
  local first = call('ZRANGE', turns_key(queue), 0, 0, 'WITHSCORES')
  return first[2] or call('GET', served_key(queue)) or '0'
end

local function take_turns(queue, tenant)
  if call('ZSCORE', turns_key(queue), tenant) then return end
  call('ZADD', turns_key(queue), served_now(queue), tenant)
end

-- Lets the first items of a tenant that had no job overtake bulk tickets that are queued already:
-- without them it would have had its turn before. It may overtake with as many as it was entitled
-- to since it last did, at most BURST: what all got since then, times its weight, and what it left.
local function grant_burst(tenant)
  local served = math.max(tonumber(call('GET', served_key(BULK)) or '0'), served_now(BULK))
  local credit = BURST
  local kept = call('HGET', CREDITS, tenant)
  if kept then
    local left, since = string.match(kept, '^(%S+) (%S+)$')
    credit = left + math.max(0, served - since) * weight_of(tenant)
  end
  call('HSET', BURSTS, tenant, math.floor(math.min(BURST, credit)))
  call('HSET', CREDITS, tenant, '0 ' .. served)
end

-- Keeps what a tenant did not use of its burst.
local function keep_credit(tenant, left)
  local since = string.match(call('HGET', CREDITS, tenant) or '0 0', ' (%S+)$')
  call('HSET', CREDITS, tenant, left .. ' ' .. since)
end

-- Appends a job that a worker can process to those of its tenant.
local function append_to_turns(job, queue)
  local tenant = tenant_of(job)
  local jobs = call('RPUSH', feeding_key(queue, tenant), job)
  if queue == BULK and jobs == 1 and call('ZCARD', queued_key(BULK)) > 0 then grant_burst(tenant) end
  take_turns(queue, tenant)
end

-- Appends a job to those with items to feed. One with needs waits apart until a registered worker
-- has its features: workers of version 0.1 feed every job of the other lists, and cannot process it.
local function append_to_feeding(job, queue)
  if call('HEXISTS', job_key(job), 'needs') == 1 then
    call('RPUSH', UNSERVED, job)
  else
    append_to_turns(job, queue)
  end
end

-- Tenant that is next, or nil if no job waits. Version 0.1 appends to the list of '' only.
local function next_tenant(queue)
  if call('LLEN', feeding_key(queue, '')) > 0 then take_turns(queue, '') end
  return call('ZRANGE', turns_key(queue), 0, 0)[1]
end

-- Counts items of a tenant's job that are about to be issued.
local function charge(queue, tenant, items)
  call('SET', served_key(queue), served_now(queue))
  call('ZINCRBY', turns_key(queue), items / weight_of(tenant), tenant)
end
