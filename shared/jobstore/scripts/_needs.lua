-- Features that a job needs from a worker; both sides are lists separated by spaces.

-- Whether *features* contain all features that the job needs.
local function has_features(job, features)
  for need in string.gmatch(call('HGET', job_key(job), 'needs') or '', '%S+') do
    if not string.find(' ' .. features .. ' ', ' ' .. need .. ' ', 1, true) then return false end
  end
  return true
end

-- Whether a registered worker has all features that the job needs.
local function is_served(job)
  if call('HEXISTS', job_key(job), 'needs') == 0 then return true end
  for _, worker in ipairs(call('ZRANGEBYSCORE', WORKERS, '(' .. now(), '+inf')) do
    local features = cjson.decode(call('HGET', WORKER_INFOS, worker)).features
    if type(features) == 'table' and has_features(job, table.concat(features, ' ')) then
      return true
    end
  end
  return false
end

-- Shows in the job's status for a while that it waits for a worker with its features.
local function wait_for_features(job, for_ms)
  call('HSET', job_key(job), 'waiting_for', call('HGET', job_key(job), 'needs_reason'),
    'waiting_until_ms', now() + for_ms)
end
