"""References to blobs: what programs keep of a volume's sealed contents. Ops: AddBlobRef, DropBlobRef.

A reference is one more user of its content (``contents.refs``). It is not versioned: a snapshot is of the
tree, to which blobs do not belong.
"""

from __future__ import annotations

from typing import Final

from graviton_server.namespace import contents
from graviton_server.namespace.engine import Execute
from graviton_server.namespace.txn import Txn
from gravitonfs.core.hashing import EMPTY_DIGEST
from gravitonfs.core.ids import DIGEST_SIZE, NO_CONTENT, BlobId
from gravitonfs.errors import Conflict, Invalid, NotFound
from gravitonfs.ports.namespace import BlobRef
from gravitonfs.ports.ops import AddBlobRef, DropBlobRef

_COLUMNS: Final = "digest, length, content, created"
_GET: Final = f"SELECT {_COLUMNS} FROM blob_refs WHERE volume = ? AND digest = ? AND length = ?"
_AFTER: Final = (
    f"SELECT {_COLUMNS} FROM blob_refs WHERE volume = ? AND (digest, length) > (?, ?)"
    " ORDER BY digest, length LIMIT ?"
)
_ADD: Final = "INSERT INTO blob_refs (volume, digest, length, content, created) VALUES (?, ?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM blob_refs WHERE volume = ? AND digest = ? AND length = ?"
_BEFORE_ALL: Final = (b"", -1)


def add(txn: Txn, op: AddBlobRef) -> None:
    if len(op.digest) != DIGEST_SIZE:
        raise Invalid(f"a digest has {DIGEST_SIZE} bytes")
    inode = txn.file(op.ino)
    blob = BlobId(op.digest, op.length)
    digest = contents.get(txn, inode.content).digest if inode.content else EMPTY_DIGEST
    if digest is None:
        raise Conflict(f"inode {op.ino} is not sealed, so it cannot be kept as a blob yet")
    if (digest, inode.size) != blob:
        raise Conflict(f"inode {op.ino} has other bytes than {blob}")
    if read(txn.execute, txn.volume, *blob) is not None:
        return
    txn.execute(_ADD, (txn.volume, op.digest, op.length, inode.content, txn.clock))
    contents.add_user(txn, inode.content)


def drop(txn: Txn, op: DropBlobRef) -> None:
    found = read(txn.execute, txn.volume, op.digest, op.length)
    if found is None:
        raise NotFound(f"there is no blob {BlobId(op.digest, op.length)} in this volume")
    txn.execute(_DELETE, (txn.volume, op.digest, op.length))
    if found.content != NO_CONTENT:
        contents.release(txn, found.content)


def read(execute: Execute, volume: int, digest: bytes, length: int) -> BlobRef | None:
    row = execute(_GET, (volume, digest, length)).fetchone()
    return None if row is None else BlobRef._make(row)


def page(execute: Execute, volume: int, after: tuple[bytes, int] | None, limit: int) -> list[BlobRef]:
    digest, length = after or _BEFORE_ALL
    return [BlobRef._make(row) for row in execute(_AFTER, (volume, digest, length, limit)).fetchall()]
