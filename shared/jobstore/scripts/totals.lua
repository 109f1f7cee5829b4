#!lua flags=allow-oom
-- Sums up all open jobs and all workers for monitoring.
--
-- ARGS  kept_ms:int
--       how long a result is returned again: many clients ask, and the sums take a while
-- Returns   JSON: open_jobs, open_images, oldest_ms (since the oldest open job was submitted),
--           workers, slots, images_per_s (0 while unknown), tickets (place -> open tickets there)
-- Repeated: the same, until that time has passed.

local kept = call('GET', TOTALS)
if kept then return kept end

local time = now()
local sums = { open_jobs = 0, open_images = 0, oldest_ms = 0, workers = 0, slots = 0,
  images_per_s = 0 }

-- All jobs that may be open: those with items to feed or with a ticket in one of the places. This
-- needs no separate list and skips the many jobs that are kept after their end.
local function open_jobs()
  local jobs = {}
  local function note_tickets(place)
    for _, member in ipairs(call('ZRANGE', place, 0, -1)) do jobs[ticket_of(member)] = true end
  end
  local function note_jobs(list)
    for _, job in ipairs(call('LRANGE', list, 0, -1)) do jobs[job] = true end
  end
  note_tickets(LEASED)
  note_tickets(PARKED)
  for _, queue in ipairs({ INTERACTIVE, RECOVERY, BULK, SUSPECT }) do
    note_tickets(queued_key(queue))
    note_jobs(feeding_key(queue, ''))
    for _, tenant in ipairs(call('ZRANGE', turns_key(queue), 0, -1)) do
      note_jobs(feeding_key(queue, tenant))
    end
  end
  note_jobs(UNSERVED)
  return jobs
end

for job in pairs(open_jobs()) do
  local found = call('HMGET', job_key(job), 'state', 'total', 'done', 'failed', 'created_ms')
  if found[1] == RUNNING or found[1] == FINISHING then
    sums.open_jobs = sums.open_jobs + 1
    if not is_cancelled(job) then
      sums.open_images = sums.open_images + found[2] - found[3] - found[4]
    end
    sums.oldest_ms = math.max(sums.oldest_ms, time - found[5])
  end
end

local alive = call('ZRANGEBYSCORE', WORKERS, '(' .. time, '+inf')
for _, worker in ipairs(alive) do
  local info = cjson.decode(call('HGET', WORKER_INFOS, worker))
  sums.workers = sums.workers + 1
  for _, name in ipairs({ 'slots', 'images_per_s' }) do -- null, or as a later version writes it
    if type(info[name]) == 'number' then sums[name] = sums[name] + info[name] end
  end
end

sums.tickets = { leased = call('ZCARD', LEASED), parked = call('ZCARD', PARKED) }
for _, queue in ipairs({ INTERACTIVE, RECOVERY, BULK, SUSPECT }) do
  sums.tickets[queue] = call('ZCARD', queued_key(queue))
end

local answer = cjson.encode(sums)
call('SET', TOTALS, answer, 'PX', kept_ms)
return answer
