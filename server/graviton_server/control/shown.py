"""Names of any bytes in JSON."""

from __future__ import annotations

import base64


def name_fields(name: bytes, key: str = "name") -> dict[str, str]:
    """As text, and exactly, where the text cannot say it."""
    try:
        return {key: name.decode()}
    except UnicodeDecodeError:
        return {key: name.decode(errors="replace"), f"{key}_base64": base64.b64encode(name).decode()}
