"""The file system itself: open inodes, handles, listings. Trio; knows no FUSE.

Everything here runs on one event loop. A namespace that says it is ``inline`` is called directly;
what may wait for a disk or a network goes to a worker thread.
"""
