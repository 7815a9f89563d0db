"""Content types by a name's ending; the same on every machine."""

from __future__ import annotations

import mimetypes

_table = mimetypes.MimeTypes(filenames=(), strict=True)
# What people keep in shared folders and the library does not know.
for _type, _suffix in (
    ("application/yaml", ".yaml"),
    ("application/yaml", ".yml"),
    ("application/zstd", ".zst"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ".pptx"),
    ("application/vnd.oasis.opendocument.text", ".odt"),
    ("application/vnd.oasis.opendocument.spreadsheet", ".ods"),
    ("application/vnd.oasis.opendocument.presentation", ".odp"),
    ("audio/flac", ".flac"),
    ("image/webp", ".webp"),
    ("text/markdown", ".md"),
    ("video/x-matroska", ".mkv"),
):
    _table.add_type(_type, _suffix)

_ENCODED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
DEFAULT = "application/octet-stream"
_SUFFIX_MAX = 16
_known: dict[bytes, str] = {}
_KNOWN_MAX = 2000


def content_type(name: bytes) -> str:
    dot = name.rfind(b".")
    if dot < 0 or len(name) - dot > _SUFFIX_MAX:
        return DEFAULT
    suffix = name[dot:]
    found = _known.get(suffix)
    if found is None:
        kind, encoding = _table.guess_type("a" + suffix.decode("latin-1").lower())
        found = _ENCODED.get(encoding or "", kind if encoding is None else None) or DEFAULT
        if len(_known) < _KNOWN_MAX:
            _known[suffix] = found
    return found
