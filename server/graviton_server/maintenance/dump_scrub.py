"""Dumps on the targets are read again: each manifest and each part, at every target.

A bad copy is made anew from a good one. What no target has a good copy of is told, and no later dump takes it
for stored; one that has the same text puts it there again, which heals the dumps before it, too. Nothing is
deleted. Dumps that are removed meanwhile are passed by.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Final, Generic, NamedTuple, TypeVar

from graviton_server.maintenance.archive import (
    MANIFEST_MAX,
    STORED_MAX,
    Archive,
    Manifest,
    decode,
    key_of,
    plain_of,
)
from graviton_server.maintenance.reports import Finding
from graviton_server.maintenance.work import Work
from gravitonfs.errors import Damaged, FormatError, GravitonError, NotFound
from gravitonfs.ports.target import Target, each_place

log = logging.getLogger(__name__)

COPY: Final = "copy-damaged"
DUMP: Final = "dump-damaged"


class Checked(NamedTuple):
    findings: list[Finding]
    bytes_read: int


T = TypeVar("T")


class _Copies(NamedTuple, Generic[T]):
    """Of one object: a good one and what is in it, where there is one. ``away``: a target could not be asked,
    and may have one."""

    good: bytes | None
    meaning: T | None
    bad: list[Target]
    away: bool


def scrub_dumps(archive: Archive, work: Work) -> Checked:
    """At the rate of ``work``."""
    findings: list[Finding] = []
    read = 0
    manifests: list[Manifest] = []
    for dump in archive.ids():
        key = key_of(dump)
        copies = _read(archive, key, MANIFEST_MAX, partial(decode, key=key), work)
        read += len(copies.good or b"")
        findings += _mended(copies, key, f"the dump {dump}")
        if copies.meaning is not None:
            manifests.append(copies.meaning)
        elif not copies.away and dump in archive.ids():
            findings.append(_lost(dump, "its manifest is damaged at every target that has it", key))
    parts = {part.id: part for manifest in manifests for part in manifest.all_parts()}
    total = sum(part.stored for part in parts.values())
    lost: set[str] = set()
    done = 0
    for part in parts.values():
        work.tell(done, total, "bytes of dumps verified")
        found = _read(archive, part.key, STORED_MAX, partial(plain_of, part), work)
        done += part.stored
        read += len(found.good or b"")
        findings += _mended(found, part.key, "a part of a dump")
        if found.good is None and not found.away:
            lost.add(part.id)
    archive.distrust({parts[number].key for number in lost})
    return Checked(findings + _unloadable(archive, manifests, lost), read)


def _read(archive: Archive, key: str, most: int, check: Callable[[bytes], T], work: Work) -> _Copies[T]:
    good: bytes | None = None
    meaning: T | None = None
    bad: list[Target] = []
    away = False
    for place in each_place(archive.target):
        try:
            data = bytes(memoryview(place.get(key, 0, most)))
            work.spend(len(data))
            meaning = check(data)
            good = data
        except NotFound:
            continue  # it was away when the dump was made, or the dump is gone
        except FormatError:
            away = True  # a newer release knows what it is
        except Damaged as error:
            log.warning("%s on the target %s: %s", key, place.name, error)
            bad.append(place)
        except GravitonError as error:
            work.check()
            log.warning("%s on the target %s cannot be read: %s", key, place.name, error)
            away = True
    return _Copies(good, meaning, bad, away)


def _mended(copies: _Copies[T], key: str, what: str) -> list[Finding]:
    """Bad copies, made anew where there is a good one."""
    if copies.good is None:
        return []
    findings = []
    for place in copies.bad:
        try:
            place.put(key, BytesIO(copies.good), len(copies.good))
            done = "was damaged and has been made anew"
        except GravitonError as error:
            done = f"is damaged and cannot be made anew: {error}"
        findings.append(Finding(kind=COPY, what=f"{what} on the target {place.name} {done}", key=key))
    return findings


def _unloadable(archive: Archive, manifests: list[Manifest], lost: set[str]) -> list[Finding]:
    if not lost:
        return []
    there = set(archive.ids())
    counts: Counter[str] = Counter()
    for manifest in manifests:
        counts[manifest.id] = len({part.id for part in manifest.all_parts()} & lost)
    return [
        _lost(
            dump, f"{count} of its parts are damaged or missing at every target; make a new one", key_of(dump)
        )
        for dump, count in counts.items()
        if count and dump in there
    ]


def _lost(dump: str, why: str, key: str) -> Finding:
    return Finding(kind=DUMP, what=f"the dump {dump} cannot be loaded: {why}", key=key)
