"""What an operator sets: a HOCON file, environment variables and flags, checked as a whole.

``sections`` declares every key once; ``load`` reads; nothing here opens a database or a socket.
"""
