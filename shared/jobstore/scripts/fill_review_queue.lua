#!lua flags=no-cluster
-- Adds a part of a job's doubtful items to its queue.
--
-- ARGS  job generation:int first:int last:int keep_ms:int
--       first: 1 for the first part, which replaces the queue; last: 1 for the last part, with
--       which the queue counts for keep_ms
-- EACH  index:int doubt facts decided:int
--       doubt: above 0; facts: see `_reviews.lua`; decided: 1 if a decision about the item stands
-- USES  reviews
-- Returns   nothing
-- Repeated: the same. Two gateways that fill at the same time leave the same queue, since both add
--           all items; between, some may be missing.

if first == 1 then call('DEL', doubtful_key(job), doubts_key(job)) end
for index, doubt, facts, decided in each() do
  call('ZADD', doubtful_key(job), decided == 1 and -tonumber(doubt) or doubt, index)
  call('HSET', doubts_key(job), index, facts)
end
if last == 1 then call('HSET', doubts_key(job), 'generation', generation) end
call('PEXPIRE', doubtful_key(job), keep_ms)
call('PEXPIRE', doubts_key(job), keep_ms)
