"""What a browser sends once its user has signed in: the cookie, the origin, the proof."""

from __future__ import annotations

from typing import Any

from harness.api import Answer, Api

SESSION = "/api/v1/session"


class Signed:
    def __init__(self, api: Api, origin: str, token: str) -> None:
        self.api = api
        self.origin = origin
        answer = api("POST", SESSION, {"user": "somebody", "token": token}, Origin=origin)
        assert answer.status == 200, answer
        self.told = answer.json
        self.set_cookie = answer.headers["set-cookie"]
        self.cookie = self.set_cookie.partition(";")[0]

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """As the page does; a header of None is left out."""
        sent: dict[str, Any] = {
            "Cookie": self.cookie, "Origin": self.origin, "X_Graviton_Proof": self.told["proof"], **headers
        }  # fmt: skip
        return self.api(
            method, path, body, **{name: value for name, value in sent.items() if value is not None}
        )
