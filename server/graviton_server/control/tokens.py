"""Handlers of app tokens."""

from __future__ import annotations

from graviton_server.auth.apptokens import AppToken, AppTokens
from graviton_server.control import store_requests
from graviton_server.control.answers import NewToken, TokenInfo
from graviton_server.control.calls import Channel
from graviton_server.control.service import Service


def handle_make(service: Service, request: store_requests.MakeToken, _: Channel) -> NewToken:
    text, token = _tokens(service).create(request.name, request.scopes, request.volumes, request.lasts)
    return NewToken(text, _told(token))


def handle_list(service: Service, request: store_requests.ListTokens, _: Channel) -> list[TokenInfo]:
    return [_told(token) for token in _tokens(service).all()]


def handle_revoke(service: Service, request: store_requests.RevokeToken, _: Channel) -> TokenInfo:
    return _told(_tokens(service).revoke(request.token))


def _tokens(service: Service) -> AppTokens:
    return AppTokens(service.records)


def _told(token: AppToken) -> TokenInfo:
    return TokenInfo(token.id, token.name, token.scopes, token.volumes, token.created, token.expires)
