"""POSIX ACLs as Linux keeps them in extended attributes, and their arithmetic (acl(5))."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gravitonfs.errors import Invalid

ACCESS: Final = b"system.posix_acl_access"
DEFAULT: Final = b"system.posix_acl_default"

USER_OBJ: Final = 0x01
USER: Final = 0x02
GROUP_OBJ: Final = 0x04
GROUP: Final = 0x08
MASK: Final = 0x10
OTHER: Final = 0x20

NO_ID: Final = 0xFFFFFFFF
_VERSION: Final = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")


class AclEntry(NamedTuple):
    tag: int
    perm: int
    id: int


Acl = tuple[AclEntry, ...]


def parse(value: bytes) -> Acl:
    """The entries of an attribute's value, checked as the kernel does; empty when there are none."""
    if not value:
        return ()
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        raise Invalid("the ACL's length is wrong")
    if _HEADER.unpack_from(value)[0] != _VERSION:
        raise Invalid("the ACL's version is unknown")
    entries = tuple(AclEntry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :]))
    if entries:
        _check(entries)
    return tuple(sorted(entries, key=lambda entry: (entry.tag, entry.id)))


def _check(entries: Acl) -> None:
    count = {USER_OBJ: 0, GROUP_OBJ: 0, OTHER: 0, MASK: 0}
    named = set()
    for tag, perm, identity in entries:
        if perm & ~7:
            raise Invalid("an ACL entry has unknown permissions")
        if tag in count:
            count[tag] += 1
        elif tag in (USER, GROUP):
            if identity == NO_ID or (tag, identity) in named:
                raise Invalid("an ACL entry names nobody, or somebody twice")
            named.add((tag, identity))
        else:
            raise Invalid(f"an ACL entry has the unknown tag {tag}")
    if not (count[USER_OBJ] == count[GROUP_OBJ] == count[OTHER] == 1) or count[MASK] > 1:
        raise Invalid("an ACL needs one entry each for owner, group and others, and at most one mask")
    if named and not count[MASK]:
        raise Invalid("an ACL with named entries needs a mask")


def serialize(acl: Acl) -> bytes:
    return _HEADER.pack(_VERSION) + b"".join(
        _ENTRY.pack(tag, perm, identity if tag in (USER, GROUP) else NO_ID) for tag, perm, identity in acl
    )


def is_minimal(acl: Acl) -> bool:
    """Does the ACL say no more than nine mode bits can?"""
    return all(entry.tag in (USER_OBJ, GROUP_OBJ, OTHER) for entry in acl)


def mode_bits(acl: Acl) -> int:
    """The permission bits that stat(2) shows: the mask, where there is one, stands for the group."""
    perm = {entry.tag: entry.perm for entry in acl if entry.tag not in (USER, GROUP)}
    return perm[USER_OBJ] << 6 | perm.get(MASK, perm[GROUP_OBJ]) << 3 | perm[OTHER]


def with_mode(acl: Acl, mode: int) -> Acl:
    """The ACL after chmod: owner, others, and the mask (or the group where there is none)."""
    masked = any(entry.tag == MASK for entry in acl)
    bits = {USER_OBJ: mode >> 6 & 7, (MASK if masked else GROUP_OBJ): mode >> 3 & 7, OTHER: mode & 7}
    return tuple(entry._replace(perm=bits.get(entry.tag, entry.perm)) for entry in acl)


def inherited(default: Acl, mode: int) -> tuple[Acl, int]:
    """A new file's access ACL and its permission bits, from its directory's default ACL.

    Each class gets what both the default ACL and the requested mode allow.
    """
    masked = any(entry.tag == MASK for entry in default)
    bits = {USER_OBJ: mode >> 6 & 7, (MASK if masked else GROUP_OBJ): mode >> 3 & 7, OTHER: mode & 7}
    acl = tuple(entry._replace(perm=entry.perm & bits.get(entry.tag, 7)) for entry in default)
    return acl, mode_bits(acl)
