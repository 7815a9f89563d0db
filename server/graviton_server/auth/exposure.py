"""Whether a server may listen where others can reach it."""

from __future__ import annotations

from graviton_server.config.sections import Auth
from graviton_webdav.auth import is_loopback
from gravitonfs.errors import Invalid

WEBDAV = "WebDAV"


def check_exposure(what: str, host: str, *, guarded: bool, auth: Auth, insecure: bool) -> str | None:
    """A warning to log at every start, or None. Raises Invalid where nobody has said that it is meant.

    ``guarded``: callers have to show who they are.
    """
    if guarded or is_loopback(host):
        return None
    if insecure or auth.enabled is False:
        return f"{what} listens on {host} and lets everybody in who can reach it: authentication is off"
    users = ""
    if what == WEBDAV:
        users = "give it a users file (graviton passwd makes it: --users or graviton.webdav.users-file), "
    raise Invalid(
        f"{what} would listen on {host}, which other machines can reach, without authentication: {users}set"
        " graviton.auth.enabled = true (with graviton.auth.jwt, or with tokens of 'graviton token create'),"
        " listen on 127.0.0.1, or say that it is meant with graviton.auth.enabled = false or --insecure"
    )
