"""Subcommands of `rmbg`, one module per group; `producer.cli` imports them on demand."""
