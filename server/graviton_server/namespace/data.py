"""Ops on the bytes of files: Write, Append, Truncate, Rewrite, Seal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graviton_server.namespace import contents, regions
from graviton_server.namespace.history import keep_content, keep_inode
from graviton_server.namespace.txn import Inode, Txn
from gravitonfs.core.extents import REGION, Extent
from gravitonfs.core.ids import DIGEST_SIZE, NO_CONTENT, ContentId, Ino
from gravitonfs.errors import Conflict, FileTooLarge, Invalid
from gravitonfs.ports.namespace import ContentKind, Touched
from gravitonfs.ports.ops import ANY, Append, Attr, Rewrite, Seal, Truncate, Write

_UPDATE: Final = "UPDATE inodes SET size = ?, mtime = ?, ctime = ?, content = ?, version = ? WHERE ino = ?"
_UPDATE_SAME: Final = "UPDATE inodes SET size = ?, mtime = ?, ctime = ?, version = ? WHERE ino = ?"
"""With the content left as it is, its index stays untouched."""
_LIMIT_BASE: Final = "UPDATE contents SET base_limit = ? WHERE id = ?"
_DROP_BASE: Final = "UPDATE contents SET base = 0, base_limit = 0, depth = 0 WHERE id = ?"
_OWNER_VERSION: Final = "SELECT ino, size, version FROM inodes WHERE content = ? AND content <> 0"

_DRAFT: Final = int(ContentKind.DRAFT)


def write(txn: Txn, op: Write) -> Attr:
    inode = txn.file(op.ino)
    extents = op.extents
    if op.content and not 0 < op.content < txn.contents_granted():
        raise Invalid(f"content id {op.content} was not granted")
    if extents:
        return _write(
            txn, inode, extents, op.end,
            expect=op.expect, digest=op.seal, mtime_ns=op.mtime_ns, offered=op.content,
        )  # fmt: skip
    if op.seal is not None and inode.content and _seals(inode, op.seal, op.expect, inode.size, op.end):
        _seal(txn, inode.content, inode.size, inode.version, op.seal)
    return inode.attr()


def append(txn: Txn, op: Append) -> Attr:
    inode = txn.file(op.ino)
    if not op.length:
        return inode.attr()
    if op.length < 0:
        raise Invalid("an append cannot have a negative length")
    start = inode.size
    moved = [extent._replace(offset=extent.offset + start) for extent in op.extents]
    return _write(txn, inode, moved, start + op.length)


def _write(
    txn: Txn,
    inode: Inode,
    extents: Sequence[Extent],
    end: int,
    *,
    expect: int = ANY,
    digest: bytes | None = None,
    mtime_ns: int | None = None,
    offered: ContentId = NO_CONTENT,
) -> Attr:
    size = inode.size if inode.size > end else end
    _check_extents(txn, extents, size, end)
    if txn.ledger is not None:
        txn.ledger.resized(txn, inode, size)
    version = inode.version + 1
    sealed = digest if digest is not None and _seals(inode, digest, expect, size, end) else None
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    content = inode.content
    if not content:
        content = contents.new(txn, size, version, sealed, offered)
        regions.fill(txn, content, extents)
    else:
        draft = contents.draft_of(txn, inode, offered)
        content = draft.id
        regions.lay(txn, draft, extents)
        if sealed is not None:
            contents.seal(txn, content, size, version, sealed)
    mtime, ctime = txn.now, txn.now
    if mtime_ns is not None:
        # A write-back of older writes must not move ctime past what the writer has seen already.
        mtime = mtime_ns or inode.mtime_ns
        ctime = max(inode.ctime_ns, mtime_ns)
    ino = inode.ino
    if content == inode.content:
        txn.execute(_UPDATE_SAME, (size, mtime, ctime, version, ino))
    else:
        txn.execute(_UPDATE, (size, mtime, ctime, content, version, ino))
    txn.bytes += size - inode.size
    if txn.changes is not None:
        txn.tell(Touched.ATTR | Touched.DATA, ino)
    return Attr(
        ino, inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev, size, inode.atime_ns, mtime, ctime,
        inode.btime_ns, content, version,
    )  # fmt: skip


def _check_extents(txn: Txn, extents: Sequence[Extent], size: int, end: int) -> None:
    if size > txn.format.max_file_size:
        raise FileTooLarge(f"files of this volume have at most {txn.format.max_file_size} bytes")
    last = -1
    for offset, length, block, block_offset, _ in extents:
        if offset < 0 or length <= 0 or block_offset < 0 or offset + length > end or len(block) != 32:
            raise Invalid("an extent lies outside of its write")
        if offset < last:
            _check_disjoint(extents)
        last = offset + length


def _check_disjoint(extents: Sequence[Extent]) -> None:
    if not regions.is_sorted(sorted(extents)):
        raise Invalid("the extents of a write overlap")


def _seals(inode: Inode, digest: bytes, expect: int, size: int, end: int) -> bool:
    if len(digest) != DIGEST_SIZE:
        raise Invalid(f"a digest has {DIGEST_SIZE} bytes")
    return expect in (ANY, inode.version) and size == end


def _seal(txn: Txn, content: ContentId, length: int, version: int, digest: bytes) -> None:
    found = contents.get(txn, content)
    if found.digest is None:
        contents.seal(txn, content, length, version, digest)


def truncate(txn: Txn, op: Truncate) -> Attr:
    inode = txn.file(op.ino)
    size = op.size
    if size < 0:
        raise Invalid("a file cannot have a negative size")
    if size > txn.format.max_file_size:
        raise FileTooLarge(f"files of this volume have at most {txn.format.max_file_size} bytes")
    mtime, ctime = (inode.mtime_ns, inode.ctime_ns) if op.keep_times else (txn.now, txn.now)
    content, version = inode.content, inode.version
    if txn.snapshot:
        keep_inode(txn, inode.ino)
    if size != inode.size:
        if txn.ledger is not None:
            txn.ledger.resized(txn, inode, size)
        version += 1
        if size == 0:
            contents.release(txn, content)
            content = NO_CONTENT
        else:
            content = _resize(txn, inode, size)
        txn.bytes += size - inode.size
    if content == inode.content:
        txn.execute(_UPDATE_SAME, (size, mtime, ctime, version, inode.ino))
    else:
        txn.execute(_UPDATE, (size, mtime, ctime, content, version, inode.ino))
    txn.tell(Touched.ATTR | Touched.DATA, inode.ino)
    return inode._replace(size=size, mtime_ns=mtime, ctime_ns=ctime, content=content, version=version).attr()


def _resize(txn: Txn, inode: Inode, size: int) -> ContentId:
    draft = contents.draft_of(txn, inode)
    if size < inode.size:
        limit = -(-size // REGION)
        regions.cut(txn, draft, size)
        if draft.base and draft.base_limit > limit:
            if txn.snapshot:
                keep_content(txn, draft.id)
            txn.execute(_LIMIT_BASE, (limit, draft.id))
    return draft.id


def _length_and_version(txn: Txn, found: contents.Content) -> tuple[Ino, int, int]:
    """A draft's own row lags behind; its inode knows."""
    if found.kind == _DRAFT:
        row = txn.execute(_OWNER_VERSION, (found.id,)).fetchone()
        if row is not None:
            return Ino(row[0]), row[1], row[2]
    return Ino(0), found.length, found.version


def rewrite(txn: Txn, op: Rewrite) -> None:
    found = contents.get(txn, op.content)
    _, length, version = _length_and_version(txn, found)
    if version != op.version or not found.refs:
        raise Conflict(f"content {op.content} has changed since it was read")
    if op.extents:
        _check_extents(txn, op.extents, length, length)
    if op.whole:
        _replace_map(txn, found, op.extents)
    else:
        regions.replace_part(txn, found, op.extents)
    if found.kind == _DRAFT:
        txn.touched[op.content] = txn.clock


def _replace_map(txn: Txn, found: contents.Content, extents: Sequence[Extent]) -> None:
    if found.base:
        if txn.snapshot:
            keep_content(txn, found.id)
        contents.release(txn, found.base)
        txn.execute(_DROP_BASE, (found.id,))
    regions.replace(txn, found.id, extents)


def seal(txn: Txn, op: Seal) -> None:
    found = contents.get(txn, op.content)
    ino, length, version = _length_and_version(txn, found)
    if version != op.version or not found.refs:
        raise Conflict(f"content {op.content} has changed since it was read")
    if len(op.digest) != DIGEST_SIZE:
        raise Invalid(f"a digest has {DIGEST_SIZE} bytes")
    if found.digest is not None:
        if found.digest != op.digest:
            raise Conflict(f"content {op.content} is sealed with another digest")
        return
    contents.seal(txn, op.content, length, version, op.digest)
    if ino:
        txn.tell(Touched.ATTR, ino)
