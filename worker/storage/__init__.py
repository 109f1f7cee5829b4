"""What an item reads from and writes to the object store."""
