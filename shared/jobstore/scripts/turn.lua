#!lua flags=allow-oom
-- Gives the next recovery round of the fleet to the first caller.
--
-- ARGS  turn_ms:int
--       for how long nobody else gets a round
-- Returns   1 if the round is the caller's, else 0
-- Repeated: 0, and the next caller gets the round; nothing depends on a single round.
--
-- The time is stored instead of an expiry: a key would outlive its time if the clock is set back.

local since_ms = now() - tonumber(call('GET', TURN) or '0')
if since_ms >= 0 and since_ms < turn_ms then return 0 end
call('SET', TURN, now())
return 1
