"""The truth about jobs, in Redis: one class over `scripts/*.lua`; only this room knows its keys.

* `store`   `JobStore`, what the others use
* `values`  what goes in and comes out
* `rules`   the numbers
* `layout`  the table of keys
* `scripts` the transitions, each one script and so all or nothing
"""
