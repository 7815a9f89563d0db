"""Prints docs/http-reference.md, made from the OpenAPI document: ``python -m`` runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from graviton_server.http_api.openapi import specification

Json = dict[str, Any]

PREFACE: Final = """\
# HTTP reference

This page is made from the OpenAPI document that every daemon serves at `/openapi.json`. What callers can rely
on, with examples: [HTTP API](http-api.md). Errors are problems (RFC 9457) of the schema [Problem](#problem).
"""
_PROBLEM: Final = "application/problem+json"
_SECTIONS: Final = {
    "blobs": "Blobs", "files": "Files", "uploads": "Uploads in parts", "admin": "Administration",
    "health": "Health and metrics",
}  # fmt: skip


def render() -> str:
    """The whole page."""
    document = specification()
    parts = [PREFACE]
    for tag, title in _SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    parts += _operation(document, f"{method.upper()} {path}", operation)
    parts += _errors(document)
    parts.append("\n## Schemas\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _schema(name, schema)
    return "".join(parts)


def _operation(document: Json, title: str, operation: Json) -> Iterator[str]:
    yield f"\n### {title}\n\n{operation['summary']}"
    yield " Needs no token.\n" if operation.get("security") == [] else "\n"
    if parameters := [_resolved(document, one) for one in operation.get("parameters", ())]:
        yield "\n| parameter | in | type | |\n| --- | --- | --- | --- |\n"
        for one in parameters:
            needed = " (required)" if one["required"] and one["in"] != "path" else ""
            text = one.get("description", "")
            yield f"| `{one['name']}`{needed} | {one['in']} | {_type(one['schema'])} | {text} |\n"
    if body := operation.get("requestBody"):
        yield f"\nBody: {_content(body['content'])}.\n"
    answers = sorted(operation["responses"].items())
    errors = [status for status, answer in answers if _PROBLEM in answer.get("content", {})]
    yield "\n| status | body | |\n| --- | --- | --- |\n"
    for status, answer in answers:
        if status not in errors:
            yield f"| {status} | {_content(answer.get('content', {}))} | {answer['description']} |\n"
    if errors:
        yield f"\nErrors: {', '.join(errors)}.\n"


def _errors(document: Json) -> Iterator[str]:
    """What the statuses of problems mean; it is the same wherever they are answered."""
    yield "\n## Errors\n\n| status | |\n| --- | --- |\n"
    meanings = {
        status: answer["description"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, answer in operation["responses"].items()
        if _PROBLEM in answer.get("content", {})
    }
    for status, meaning in sorted(meanings.items()):
        yield f"| {status} | {meaning} |\n"


def _resolved(document: Json, value: Json) -> Json:
    if "$ref" not in value:
        return value
    found = document
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def _content(content: Json) -> str:
    return ", ".join(f"`{kind}` {_type(one['schema'])}" for kind, one in content.items())


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f"\n### {name}\n"
    if not schema.get("properties"):
        yield f"\nA JSON {schema.get('type', 'value')}.\n"
        return
    yield "\n| field | type | |\n| --- | --- | --- |\n"
    for field, one in schema["properties"].items():
        yield f"| `{field}` | {_type(one)} | {'' if field in schema.get('required', ()) else 'optional'} |\n"


def _type(schema: Json) -> str:
    """In a few words, for a cell of a table."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("format") == "binary":
        return "bytes"
    if "pattern" in schema and "](" not in schema["pattern"]:  # which would look like a link
        shown = schema["pattern"].replace("|", "\\|")
        return f"{kind} `{shown}`"
    return kind


if __name__ == "__main__":
    sys.stdout.write(render())
