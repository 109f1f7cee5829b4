#!lua flags=allow-oom
-- Renews leases.
--
-- ARGS  ttl_ms:int
-- EACH  job unit epoch:int owner
-- Returns   numbers (from 0) of the leases that are lost
-- Repeated: renews again.

local until_ms, number, lost = now() + ttl_ms, 0, {}
for job, unit, epoch, owner in each() do
  if holds(job, unit, epoch, owner) then
    call('ZADD', LEASED, until_ms, member_of(job, unit))
  else
    lost[#lost + 1] = number
  end
  number = number + 1
end
return lost
