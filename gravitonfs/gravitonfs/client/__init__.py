"""Using a daemon from Python: a client for programs, and the ports that a remote mount stands on.

``Client`` is what programs use; ``RemoteNamespace`` and ``RemoteBlockStore`` implement the ports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gravitonfs.client.client import Client
    from gravitonfs.client.endpoint import Endpoint

__all__ = ["Client", "Endpoint"]


def __getattr__(name: str) -> object:
    """gRPC is imported when something is used."""
    if name == "Client":
        from gravitonfs.client.client import Client

        return Client
    if name == "Endpoint":
        from gravitonfs.client.endpoint import Endpoint

        return Endpoint
    raise AttributeError(name)
