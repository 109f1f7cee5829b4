#!lua flags=allow-oom
-- Notes the one item that a worker is about to try, so that its death has a name.
--
-- ARGV  1 job   2 unit   3 epoch   4 owner   5 index   6 record of the item, should it die of it
--       once too often: JSON with "attempts":0, which `expire` fills in
-- Answers  1 noted, 0 the lease does not stand any more
-- Repeated: the last index counts.

local job, unit = ARGV[1], ARGV[2]
if not holds(job, unit, ARGV[3], ARGV[4]) then return 0 end
call('HSET', ticket_key(job, unit), 'trying', ARGV[5], 'trying_record', ARGV[6])
return 1
