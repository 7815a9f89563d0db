"""A file system for tests that forgets, when the power is cut, whatever was not fsynced.

Names too: a file that was created, renamed or removed is so only after its directory was fsynced. That
is what POSIX promises and no more; real file systems are kinder, so what survives here survives there.
"""
