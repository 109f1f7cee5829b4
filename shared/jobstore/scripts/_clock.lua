-- Protection of future times against a server clock that was set back.

-- Records the longest interval that a kind of time was set into the future; `bring_back` uses it.
local function note_longest(kind, ms)
  if ms > tonumber(call('HGET', LONGEST, kind) or '0') then call('HSET', LONGEST, kind, ms) end
end

-- Moves times nearer that lie further ahead than any interval in use: they were set before the
-- clock was set back, and would otherwise stay for as long as the clock jumped.
local function bring_back(place, longest_ms)
  local latest_ms = now() + longest_ms
  for _, member in ipairs(call('ZRANGEBYSCORE', place, '(' .. latest_ms, '+inf')) do
    call('ZADD', place, latest_ms, member)
  end
end
