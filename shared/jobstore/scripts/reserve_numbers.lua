#!lua flags=no-cluster
-- Reserves consecutive numbers for file names.
--
-- ARGS  key listed_highest:int count:int kept_ms:int
--       key: key of the sequence; listed_highest: highest number found in the bucket
--       kept_ms: how long Redis keeps the sequence
-- Returns   the first of the numbers
-- Repeated: reserves the next numbers; gaps are allowed, duplicates are not.

local known = tonumber(call('GET', key) or '0')
local first = math.max(known, listed_highest) + 1
call('SET', key, first + count - 1, 'PX', kept_ms)
return first
