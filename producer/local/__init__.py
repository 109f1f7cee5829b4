"""The whole system on one machine: embedded servers, one worker, results in a folder."""
