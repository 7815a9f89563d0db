"""The interfaces between layers, as synchronous, thread-safe Protocols.

Each docstring states atomicity, idempotence, durability, buffer ownership and errors. All of them
raise only :class:`gravitonfs.errors.GravitonError`.
"""
