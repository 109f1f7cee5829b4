#!lua flags=no-cluster
-- Counts one request made with an API key, if its rate allows it.
--
-- ARGS  name most:int every_ms:int
--       most: requests at once; every_ms: time after which one more is allowed
-- Returns   {1 if allowed else 0, requests left, ms until all are left, or one if none is}
-- Repeated: counts again.

-- The key holds the time at which the allowance is full. It expires when that time has come.
local key = requests_key(name)
local time = now()
local full = math.max(tonumber(call('GET', key) or '0'), time)
local function left_until(at) return math.floor(most - (at - time) / every_ms) end

if left_until(full + every_ms) < 0 then
  return { 0, 0, full + every_ms - time - most * every_ms }
end
full = full + every_ms
call('SET', key, string.format('%d', full), 'PX', full - time)
local left = left_until(full)
return { 1, left, left > 0 and full - time or every_ms }
