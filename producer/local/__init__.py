"""The whole system on one machine: embedded servers, a worker of its own, results in a folder."""
