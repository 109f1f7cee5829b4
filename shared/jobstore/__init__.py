"""The state of all jobs, in Redis. No other package knows its keys.

* `store`   `JobStore`, the entry point, with its parts: `leases` for workers, `submissions` for
  producers, `queries` for everyone, `fleet` for recovery
* `values`, `status`  arguments and results
* `rules`   limits and intervals
* `layout`  the table of keys
* `scripts` the transitions, one atomic Lua script each
"""
