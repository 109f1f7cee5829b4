"""HTTP APIs of other services, for programs that speak them: one module for each.

Each translates its requests to a recipe and a light job, and has a format of errors of its own.
"""
