#!lua flags=allow-oom
-- Gives the fleet's next round of recovery to whoever asks first.
--
-- ARGV  1 for how many ms nobody else gets one
-- Answers  1 if it is the caller's, else 0
-- Repeated: 0, and the round is left to the next who asks; nothing depends on any single round.
--
-- A time is kept and no expiry set: after the clock was set back a key would outlive its time.

local since_ms = now() - tonumber(call('GET', TURN) or '0')
if since_ms >= 0 and since_ms < tonumber(ARGV[1]) then return 0 end
call('SET', TURN, now())
return 1
