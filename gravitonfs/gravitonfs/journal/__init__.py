"""The local journal of a mount: what it answers ``fsync`` with before the store has the bytes."""
