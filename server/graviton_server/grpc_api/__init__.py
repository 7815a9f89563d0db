"""``graviton.v1`` over an open engine: blobs, blocks, namespaces, administration. See protos/graviton/v1."""
