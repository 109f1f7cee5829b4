#!lua flags=no-cluster
-- Releases all items that a person's tab holds.
--
-- ARGS  holder
-- USES  reviews
-- Returns   nothing
-- Repeated: nothing is left to release.

for _, member in ipairs(call('SMEMBERS', looking_key(holder))) do
  let_go(holder, ticket_of(member))
end
