"""Which handler answers which request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graviton_server.control import (
    making,
    nodes,
    quotas,
    reports,
    requests,
    sessions,
    snapshots,
    store_requests,
    targets,
    tokens,
    transfer,
    trash,
    upkeep,
)
from graviton_server.control.calls import Channel, Handler
from graviton_server.control.request import Request

if TYPE_CHECKING:
    from graviton_server.control.service import Service

HANDLERS: dict[type[Request[Any]], Handler] = {
    requests.Stat: nodes.handle_stat,
    requests.ListNames: nodes.handle_list,
    requests.MakeNodes: making.handle_make_nodes,
    requests.SetTimes: making.handle_set_times,
    requests.MakeDirectory: nodes.handle_mkdir,
    requests.Remove: nodes.handle_remove,
    requests.Move: nodes.handle_move,
    requests.Copy: nodes.handle_copy,
    requests.ReadFile: transfer.handle_read,
    requests.WriteFile: transfer.handle_write,
    requests.WriteSmall: transfer.handle_write_small,
    requests.Flush: transfer.handle_flush,
    requests.Warm: transfer.handle_warm,
    requests.TreeUsage: reports.handle_usage,
    requests.Info: reports.handle_info,
    requests.GetStatus: reports.handle_status,
    requests.GetWork: reports.handle_work,
    requests.GetCounters: reports.handle_counters,
    requests.Drain: reports.handle_drain,
    requests.Collect: upkeep.handle_collect,
    requests.Check: upkeep.handle_check,
    requests.Scrub: upkeep.handle_scrub,
    requests.Dump: upkeep.handle_dump,
    requests.KeepDump: upkeep.handle_keep_dump,
    requests.BackUp: upkeep.handle_back_up,
    requests.ListDumps: upkeep.handle_list_dumps,
    requests.DropDump: upkeep.handle_drop_dump,
    store_requests.MakeToken: tokens.handle_make,
    store_requests.ListTokens: tokens.handle_list,
    store_requests.RevokeToken: tokens.handle_revoke,
    store_requests.ListSessions: sessions.handle_list,
    store_requests.EvictSession: sessions.handle_evict,
    store_requests.CreateSnapshot: snapshots.handle_create,
    store_requests.ListSnapshots: snapshots.handle_list,
    store_requests.DeleteSnapshot: snapshots.handle_delete,
    store_requests.DiffSnapshots: snapshots.handle_diff,
    store_requests.RestoreSnapshot: snapshots.handle_restore,
    store_requests.ListTrash: trash.handle_list,
    store_requests.RestoreRemoved: trash.handle_restore,
    store_requests.ListQuotas: quotas.handle_list,
    store_requests.GetQuota: quotas.handle_get,
    store_requests.SetQuota: quotas.handle_set,
    store_requests.DeleteQuota: quotas.handle_delete,
    store_requests.CheckQuotas: quotas.handle_check,
    store_requests.ListTargets: targets.handle_list,
    store_requests.AddTarget: targets.handle_add,
    store_requests.ChangeTarget: targets.handle_change,
}


def answer(service: Service, request: Request[Any], channel: Channel) -> Any:
    with service.request():
        return HANDLERS[type(request)](service, request, channel)
