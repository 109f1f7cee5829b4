"""The HTTP gateway: jobs, records and files for programs that have an API key.

It holds no state: what it knows is in Redis and in the bucket, so any number of gateways can stand
behind a balancer. See docs/http.md.

* `app`       builds the application from settings
* `routes`    one module for each group of requests
* `access`    who calls, and what the caller may do
* `tenancy`   which keys, prefixes and jobs belong to a tenant
* `problems`  errors as RFC 9457 problem documents
* `limits`    sizes of bodies, and headers that every response has
* `schemas`   bodies of requests and responses
"""
