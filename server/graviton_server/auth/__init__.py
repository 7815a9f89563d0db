"""Who calls, and what they may do: JSON web tokens of an issuer, and tokens of our own.

HTTP, gRPC and WebDAV ask one ``Authenticator``.
"""
