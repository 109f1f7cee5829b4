#!lua flags=no-cluster
-- Keeps copies of reviews of a job's items; the reviews themselves are in the bucket.
--
-- ARGS  job keep_ms:int complete:int
--       complete: 1 if the rows are all reviews of the job; the copies then count for keep_ms
-- EACH  index:int revision:int standing:int review
--       revision: number of entries in the review; standing: number of the one that
--       stands, from 1; 0 if none does
-- USES  reviews
-- Returns   nothing
-- Repeated: the same.
--
-- The copies count once the hash has the field `complete`. One of a decision that is made while
-- another gateway lists the bucket is kept before, else the listing would hide it. A copy is never
-- replaced by an older one, so two gateways may write in any order. Decided items leave the queue,
-- and come back when the decision is taken back.

local key = part_key(job, 'reviews')
for index, revision, standing, review in each() do
  local held = call('HGET', key, index)
  if not held or tonumber(string.match(held, '^%d+')) < revision then
    local copy = string.format('%d:%d:', revision, standing) .. review
    call('HSET', key, index, copy)
    settle(job, index, is_decided(copy, call('HGET', doubts_key(job), index)))
  end
end
if complete == 1 then call('HSET', key, 'complete', '0:0:') end
if complete == 1 or call('PTTL', key) < 0 then call('PEXPIRE', key, keep_ms) end
