"""Pure definitions: identifiers, hashing, chunking, codecs, extents, units. No I/O, no event loop."""
