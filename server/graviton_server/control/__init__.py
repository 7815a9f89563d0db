"""The socket in a data directory, through which commands reach the process that has the volume open.

A command is a request (:mod:`.requests`) and a handler, a function of (Service, request, Channel).
Who opens the volume itself calls the handler directly (:class:`.calls.LocalCaller`), everybody else
through the socket (:class:`.client.RemoteCaller`): the same code runs either way.
"""
