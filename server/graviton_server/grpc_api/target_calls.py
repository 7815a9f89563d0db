"""Targets in the AdminService: where packs are kept."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from graviton_server.control.store_requests import AddTarget, ChangeTarget
from graviton_server.control.targets import TargetAdmin
from graviton_server.grpc_api.backend import Backend
from graviton_server.grpc_api.calls import Call
from gravitonfs.errors import Invalid, Unsupported
from gravitonfs.rpc.graviton.v1 import admin_pb2 as pb

_PLACING: Final = ("zone", "weight", "capacity", "copies", "zones")
_LARGEST: Final = 10**17
_WEIGHT: Final = 1000.0
_COPIES: Final = 16


class TargetCalls:
    """Places that a request names are directories and buckets: a shard takes files of this machine (a
    token, certificates), which would be read and sent wherever the request says."""

    _backend: Backend

    @property
    def _targets(self) -> TargetAdmin:
        if self._backend.targets is None:
            raise Unsupported("this server does not keep packs")
        return self._backend.targets

    def list_targets(self, request: pb.ListTargetsRequest, call: Call) -> pb.ListTargetsReply:
        call.may_administer()
        found = self._targets.all()
        return pb.ListTargetsReply(targets=[pb.Target(**msgspec.structs.asdict(one)) for one in found])

    def add_target(self, request: pb.AddTargetRequest, call: Call) -> pb.Target:
        call.may_administer()
        if not request.name:
            raise Invalid("a target needs a name")
        if bool(request.path) == bool(request.bucket):
            raise Invalid("a target is a directory (path) or a bucket")
        if request.path and not request.path.startswith("/"):
            raise Invalid(f"{request.path} is no whole path on the daemon's machine")
        names = ("path",) if request.path else ("bucket", "region", "endpoint", "profile")
        location = {name: getattr(request, name) for name in names if getattr(request, name)}
        kind = "directory" if request.path else "s3"
        wanted = AddTarget(name=request.name, kind=kind, location=location, **_placing(request))
        return pb.Target(**msgspec.structs.asdict(self._targets.add(wanted)))

    def change_target(self, request: pb.ChangeTargetRequest, call: Call) -> pb.Target:
        call.may_administer()
        wanted = ChangeTarget(
            name=request.name,
            state=request.state if request.HasField("state") else None,
            renew=request.renew,
            force=request.force,
            **_placing(request),
        )
        return pb.Target(**msgspec.structs.asdict(self._targets.change(wanted)))


def _placing(request: pb.AddTargetRequest | pb.ChangeTargetRequest) -> dict[str, Any]:
    found = {name: getattr(request, name) for name in _PLACING if request.HasField(name)}
    if not 0 <= found.get("weight", 0) <= _WEIGHT:
        raise Invalid(f"weight is a number from 0 to {_WEIGHT:g}")
    if found.get("zone") == "":
        raise Invalid("zone is a name")
    if found.get("capacity", 0) > _LARGEST:
        raise Invalid(f"capacity is at most {_LARGEST}")
    for name in ("copies", "zones"):
        if not 1 <= found.get(name, 1) <= _COPIES:
            raise Invalid(f"{name} is a whole number from 1 to {_COPIES}")
    return found
