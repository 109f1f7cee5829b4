-- The queue of images that a person should decide about.
--
-- `doubtful` holds a job's doubtful items by their doubt: above 0 while nobody has decided, below
-- afterwards. `doubts` holds the facts of each: how many entries of its review are about an older
-- image, the verdict, and the checks, as `0;review;,coverage,holes,`.

local function doubtful_key(job) return part_key(job, 'doubtful') end
local function doubts_key(job) return part_key(job, 'doubts') end
local function looked_key(job) return part_key(job, 'looked') end
local function looking_key(holder) return 'rmbg:looking:' .. holder end

-- Whether the copy of a review says that a decision stands which is about the item as it is.
local function is_decided(copy, facts)
  local standing = copy and tonumber(string.match(copy, '^%d+:(%d+):'))
  if not standing then return false end
  return standing > tonumber(string.match(facts or '', '^%d+') or '0')
end

-- Moves an item into the queue, or out of it.
local function settle(job, index, is_out)
  local doubt = tonumber(call('ZSCORE', doubtful_key(job), index) or '0')
  if doubt == 0 then return end
  doubt = math.abs(doubt)
  call('ZADD', doubtful_key(job), is_out and -doubt or doubt, index)
end

-- Ends the lease of an item, if it is the holder's.
local function let_go(holder, job, index)
  local lease = call('HGET', looked_key(job), index)
  if lease and string.match(lease, '^%d+:(.*)$') == holder then
    call('HDEL', looked_key(job), index)
  end
  call('SREM', looking_key(holder), member_of(job, index))
end
