#!lua flags=no-cluster
-- Reserves a run of counters for files that are named by number.
--
-- ARGV  1 key of the sequence   2 highest number that is in use already, as listed
--       3 how many are wanted   4 how long Redis remembers them, in ms
-- Answers  the first of them
-- Repeated: the next run; gaps are allowed, doubles are not.

local known = tonumber(call('GET', ARGV[1]) or '0')
local base = math.max(known, tonumber(ARGV[2])) + 1
call('SET', ARGV[1], base + tonumber(ARGV[3]) - 1, 'PX', ARGV[4])
return base
