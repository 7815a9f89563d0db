"""A JDBC URL of PostgreSQL, as the deployment guide has it, and what libpq understands instead."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from gravitonfs.errors import Invalid

_PREFIX: Final = "jdbc:postgresql:"
_EXPECTED: Final = "expected jdbc:postgresql://host[:port][,host[:port]…]/database[?name=value&…]"
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|([^:\[\]]*))(?::([0-9]+))?")
_SAME: Final = {
    "user": "user", "password": "password", "sslmode": "sslmode", "sslrootcert": "sslrootcert",
    "sslcert": "sslcert", "sslkey": "sslkey", "sslpassword": "sslpassword", "options": "options",
    "connectTimeout": "connect_timeout", "loginTimeout": "connect_timeout",
    "ApplicationName": "application_name",
    "gssEncMode": "gssencmode", "channelBinding": "channel_binding", "requireAuth": "require_auth",
}  # fmt: skip
_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SERVERS: Final = {
    "any": "any", "primary": "read-write", "master": "read-write", "secondary": "standby", "slave": "standby",
    "preferSecondary": "prefer-standby", "preferSlave": "prefer-standby", "preferPrimary": "any",
}  # fmt: skip


class Connection(NamedTuple):
    """``conninfo``: libpq's parameters. ``ignored``: names in the URL that mean something to JDBC alone."""

    conninfo: dict[str, str]
    ignored: tuple[str, ...]


def parse_jdbc(url: str) -> Connection:
    """Raises Invalid, without the URL's secrets."""
    if not url.startswith(_PREFIX):
        raise Invalid(f"this is no JDBC URL of PostgreSQL; {_EXPECTED}")
    place, _, query = url[len(_PREFIX) :].partition("?")
    found = _place(place)
    ignored: list[str] = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        _parameter(found, ignored, unquote(name), unquote(value))
    return Connection(found, tuple(ignored))


def _place(text: str) -> dict[str, str]:
    if not text.startswith("//"):
        name = unquote(text.removeprefix("/"))
        return {"dbname": name} if name else {}
    authority, _, name = text[2:].partition("/")
    hosts, ports = [], []
    for one in authority.split(","):
        match = _HOST.fullmatch(one)
        if match is None:
            raise Invalid(f"{one!r} is no host with a port; {_EXPECTED}")
        port = int(match[3] or 5432)
        if not 0 < port < 65536:
            raise Invalid(f"{port} is no port; {_EXPECTED}")
        hosts.append(unquote(match[1] or match[2]) or "localhost")
        ports.append(str(port))
    found = {"host": ",".join(hosts), "port": ",".join(ports)}
    if name:
        found["dbname"] = unquote(name)
    return found


def _parameter(found: dict[str, str], ignored: list[str], name: str, value: str) -> None:
    if name == "sslmode" and value not in _SSLMODES:
        raise Invalid(f"sslmode={value} is unknown; expected one of {', '.join(_SSLMODES)}")
    if name in _SAME:
        found[_SAME[name]] = value
    elif name == "targetServerType":
        if value not in _SERVERS:
            raise Invalid(f"targetServerType={value} is unknown; expected one of {', '.join(_SERVERS)}")
        found["target_session_attrs"] = _SERVERS[value]
    elif name == "ssl":
        if value.lower() in ("true", ""):
            found.setdefault("sslmode", "verify-full")
    elif name == "loadBalanceHosts":
        found["load_balance_hosts"] = "random" if value.lower() == "true" else "disable"
    elif name == "tcpKeepAlive":
        found["keepalives"] = "1" if value.lower() == "true" else "0"
    elif name == "socketTimeout" and value.isdecimal():
        found["tcp_user_timeout"] = str(int(value) * 1000)
    elif name == "currentSchema":
        option = (
            f"-c search_path={value}".replace("\\", "\\\\").replace(" ", "\\ ").replace("-c\\ ", "-c ", 1)
        )
        found["options"] = f"{found['options']} {option}" if "options" in found else option
    else:
        ignored.append(name)


def without_secrets(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", url)


def conninfo(url: str, *, user: str | None = None, password: str | None = None) -> str:
    """libpq's connection string. What the URL says of user and password goes before the keys."""
    values = parse_jdbc(url).conninfo
    if user is not None:
        values.setdefault("user", user)
    if password is not None:
        values.setdefault("password", password)
    return " ".join(f"{name}={_quoted(value)}" for name, value in values.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
