"""The work a volume does on itself: collection, compaction, re-chunking, digests, checks, backups."""
