"""The network and its weights. With `worker.stations.segment`, all that knows torch."""
