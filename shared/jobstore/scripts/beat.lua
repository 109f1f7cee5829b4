#!lua flags=allow-oom
-- Renews leases.
--
-- ARGV  1 time to live, in ms   then for each lease: job, unit, epoch, owner
-- Answers  the numbers (from 0) of the leases that are lost
-- Repeated: renews again.

local until_ms = now() + tonumber(ARGV[1])
local lost = {}
for i = 2, #ARGV, 4 do
  local job, unit = ARGV[i], ARGV[i + 1]
  if holds(job, unit, ARGV[i + 2], ARGV[i + 3]) then
    call('ZADD', LEASED, until_ms, member_of(job, unit))
  else
    lost[#lost + 1] = (i - 2) / 4
  end
end
return lost
