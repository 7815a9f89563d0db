"""What tests of whole processes share: places on disk, running programs, mounts, ordinary users."""
