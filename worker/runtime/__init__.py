"""Process lifecycle: start, serve, leave."""
