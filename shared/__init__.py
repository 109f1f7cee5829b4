"""What both ends use: the contract that crosses the wire. No pixels, no torch, no numpy."""
