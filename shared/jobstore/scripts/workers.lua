#!lua flags=no-writes
-- Lists the registered workers.
--
-- ARGS
-- Returns   the description (JSON) of each, by worker id
-- Repeated: the same.

local alive = call('ZRANGEBYSCORE', WORKERS, '(' .. now(), '+inf')
if #alive == 0 then return {} end
table.sort(alive)
return call('HMGET', WORKER_INFOS, unpack(alive))
