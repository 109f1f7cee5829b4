#!lua flags=no-writes
-- Tells which workers are there.
--
-- ARGV  none
-- Answers  what each says of itself (JSON), by worker id
-- Repeated: the same.

local alive = call('ZRANGEBYSCORE', WORKERS, '(' .. now(), '+inf')
if #alive == 0 then return {} end
table.sort(alive)
return call('HMGET', WORKER_INFOS, unpack(alive))
