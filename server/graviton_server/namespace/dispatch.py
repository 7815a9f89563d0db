"""Which function applies which op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from graviton_server.namespace import (
    attributes,
    blobs,
    data,
    names,
    orphans,
    records,
    staging,
    trash_ops,
    trees,
)
from graviton_server.namespace.txn import Txn
from gravitonfs.ports import ops

APPLY: Final[dict[type, Callable[[Txn, Any], ops.Result]]] = {
    ops.Create: names.create,
    ops.Link: names.link,
    ops.Unlink: trash_ops.unlink,
    ops.Rmdir: trash_ops.rmdir,
    ops.Rename: trash_ops.rename,
    ops.SetAttr: attributes.set_attr,
    ops.SetXattr: attributes.set_xattr,
    ops.RemoveXattr: attributes.remove_xattr,
    ops.Truncate: data.truncate,
    ops.Write: data.write,
    ops.Append: data.append,
    ops.Rewrite: data.rewrite,
    ops.Seal: data.seal,
    ops.Publish: staging.publish,
    ops.Clone: trees.clone,
    ops.RemoveTree: trash_ops.remove_tree,
    ops.Disclaim: orphans.disclaim,
    ops.Retain: orphans.retain,
    ops.SetRecord: records.set_record,
    ops.AddBlobRef: blobs.add,
    ops.DropBlobRef: blobs.drop,
}
