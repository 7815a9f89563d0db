"""/api/v1/admin/volumes/{name}/quotas: how much may lie below a directory, and how much does."""

from __future__ import annotations

import falcon
import msgspec

from graviton_server.control import store_requests as requests
from graviton_server.http_api.admin import Ask
from graviton_server.http_api.context import Api, answer, document, whole
from gravitonfs.errors import Invalid

_MOST = 1 << 62


class _Quota(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    max_bytes: int | float | None = None
    max_inodes: int | float | None = None


class _Check(msgspec.Struct, forbid_unknown_fields=True):
    path: str | None = None
    repair: bool = False


class QuotaList:
    def __init__(self, api: Api, ask: Ask) -> None:
        self._api = api
        self._ask = ask

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        found = self._ask(requests.ListQuotas(volume=name))
        answer(resp, {"quotas": msgspec.to_builtins(found)})

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answered when what is there is counted."""
        wanted = document(req, self._api, _Quota)
        made = requests.SetQuota(
            volume=name,
            path=_path(wanted.path),
            max_bytes=_limit(wanted.max_bytes, "max_bytes"),
            max_inodes=_limit(wanted.max_inodes, "max_inodes"),
        )
        answer(resp, msgspec.to_builtins(self._ask(made)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        path = req.get_param("path")
        if not path:
            raise Invalid("say which directory's quota: ?path=/directory")
        self._ask(requests.DeleteQuota(volume=name, path=_path(path)))
        resp.status = falcon.HTTP_204

    def on_post_check(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        wanted = document(req, self._api, _Check)
        path = None if wanted.path is None else _path(wanted.path)
        checked = self._ask(requests.CheckQuotas(volume=name, path=path, repair=wanted.repair))
        answer(resp, {"quotas": msgspec.to_builtins(checked)})


def _limit(value: int | float | None, name: str) -> int | None:
    return None if value is None else whole(value, name, _MOST - 1)


def _path(text: str) -> bytes:
    if not text.startswith("/"):
        raise Invalid("a path begins with '/'")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Invalid("a path is text") from None
