"""Between front ends and the stores: bytes become blocks, extents become bytes. Synchronous, threads."""
