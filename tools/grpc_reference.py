"""Writes docs/grpc-reference.md from protos/: ``python tools/grpc_reference.py > docs/grpc-reference.md``."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2 as pb

ROOT: Final = Path(__file__).resolve().parents[1]
PREFACE: Final = """\
# gRPC reference

This page is made from the comments in `protos/graviton/v1/*.proto`. What callers can rely on, limits and
access: [gRPC](grpc.md). The package is `graviton.v1`; a daemon answers the standard
health service and reflection, too.
"""
_Field = pb.FieldDescriptorProto
_SCALARS: Final = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in _Field.Type.items()
    if number not in (_Field.TYPE_MESSAGE, _Field.TYPE_ENUM)
}
# The numbers of fields of descriptor.proto, which make up the paths that comments have.
_MESSAGES, _SERVICES, _OF_MESSAGE, _OF_SERVICE, _SYNTAX, _PACKAGE = 4, 6, 2, 2, 12, 2

Comments = dict[tuple[int, ...], str]


def described() -> pb.FileDescriptorSet:
    """The protos, with their comments."""
    protos = sorted((ROOT / "protos" / "graviton" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "set"
        subprocess.run(
            [
                sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'protos'}",
                "--include_source_info", f"--descriptor_set_out={output}", *map(str, protos),
            ],
            check=True,
        )  # fmt: skip
        return pb.FileDescriptorSet.FromString(output.read_bytes())


def render() -> str:
    """The whole page."""
    return PREFACE + "".join(line for file in described().file for line in _file(file))


def _file(file: pb.FileDescriptorProto) -> Iterator[str]:
    comments = _comments(file)
    # What stands before `syntax` and before `package` is about the file.
    about = [comments.get((field,), "") for field in (_SYNTAX, _PACKAGE)]
    for index, service in enumerate(file.service):
        place = (_SERVICES, index)
        yield f"\n## {service.name}\n"
        yield from (f"\n{_prose(text)}\n" for text in [*about, comments.get(place, "")] if text)
        yield "\n| call | request | answer | |\n| --- | --- | --- | --- |\n"
        for number, method in enumerate(service.method):
            text = _cell(comments.get((*place, _OF_SERVICE, number), ""))
            request = _streamed(method.input_type, method.client_streaming)
            answer = _streamed(method.output_type, method.server_streaming)
            yield f"| `{method.name}` | {request} | {answer} | {text} |\n"
    yield from _messages(file.message_type, comments)


def _messages(messages: Sequence[pb.DescriptorProto], comments: Comments) -> Iterator[str]:
    for index, message in enumerate(messages):
        yield f"\n### {message.name}\n"
        if text := comments.get((_MESSAGES, index)):
            yield f"\n{_prose(text)}\n"
        if not message.field:
            yield "\nEmpty.\n"
            continue
        yield "\n| number | field | type | |\n| ---: | --- | --- | --- |\n"
        for number, field in enumerate(message.field):
            text = _cell(comments.get((_MESSAGES, index, _OF_MESSAGE, number), ""))
            yield f"| {field.number} | `{field.name}` | {_type(field)} | {text} |\n"


def _comments(file: pb.FileDescriptorProto) -> Comments:
    """Of each element: what stands before it, and behind it on its line."""
    found: Comments = {}
    for place in file.source_code_info.location:
        text = "\n".join([*place.leading_detached_comments, place.leading_comments, place.trailing_comments])
        if text.strip():
            found.setdefault(tuple(place.path), text.strip("\n"))
    return found


def _prose(text: str) -> str:
    """Paragraphs; one that is indented further is laid out by hand and stays so."""
    paragraphs = []
    for laid_out, lines in itertools.groupby(text.splitlines(), key=lambda line: line.startswith("   ")):
        joined = "\n".join(line.rstrip() if laid_out else line.strip() for line in lines).strip("\n")
        if joined:
            paragraphs.append(f"```text\n{joined}\n```" if laid_out else joined)
    return "\n\n".join(paragraphs)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _streamed(name: str, streamed: bool) -> str:
    return f"{'stream of ' if streamed else ''}{_linked(name)}"


def _linked(name: str) -> str:
    short = name.rpartition(".")[2]
    return f"[{short}](#{short.lower()})"


def _type(field: _Field) -> str:
    name = _SCALARS.get(field.type) or _linked(field.type_name)
    if field.label == _Field.LABEL_REPEATED:
        return f"repeated {name}"
    return f"optional {name}" if field.proto3_optional else name


if __name__ == "__main__":
    sys.stdout.write(render())
