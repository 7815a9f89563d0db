"""Logging, set up in one place: to standard error, for people or as JSON.

Messages below WARNING concern an operator who asked for them (``GRAVITON_LOG_LEVEL``); a library's
chatter stays out unless it is a warning.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

from gravitonfs.core.correlation import request_id

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("human", "json")
OURS = ("graviton", "gravitonfs", "graviton_server", "graviton_webdav")


class JsonFormatter(logging.Formatter):
    """One object a line; what a caller passes as ``extra={"fields": {...}}`` stands beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "thread": record.threadName,
        }
        if request_id.get():
            entry["request_id"] = request_id.get()
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)

    @staticmethod
    def _time(seconds: float) -> str:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


class NobodyWaits(logging.Filter):
    """Drops pyfuse3's errors about answers that the kernel no longer waits for.

    Closing is not waited for, and a request can be interrupted: neither is anybody's trouble.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not (
            record.name.startswith("pyfuse3")
            and "fuse_reply_" in str(record.msg)
            and "No such file or directory" in record.getMessage()
        )


class HumanFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")


def level_from_environment() -> str | None:
    level = os.environ.get("GRAVITON_LOG_LEVEL", "").lower()
    level = "warning" if level == "warn" else level
    return level if level in LEVELS else None


def setup(level: str, style: str | None = None) -> None:
    """Send every log record to standard error. Called once, by a process's command."""
    form = style or ("json" if os.environ.get("GRAVITON_ENV") == "production" else "human")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(NobodyWaits())
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
