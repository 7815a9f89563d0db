"""The mount: pyfuse3 requests become calls of the VFS. The only package that imports pyfuse3."""
