"""Attaching a front end that keeps in memory what it may."""

from __future__ import annotations

from typing import Protocol

from gravitonfs.content.answering import Answering
from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.names_cache import AnswerCounts, NamesCache
from gravitonfs.ports.namespace import Claims, Listener, Namespace, Recall


class Attaching(Protocol):
    def __call__(self, *, listener: Listener | None, recall: Recall | None) -> Namespace: ...


def attach_caching(
    attach: Attaching,
    budget: int,
    listener: Listener | None,
    recall: Recall | None,
    counts: AnswerCounts | None = None,
    answering: Claims | None = None,
) -> Namespace:
    """Attach with so many bytes for what is known; with none every answer is the store's. ``answering``: own
    changes are answered from memory too; what the session has open is asked of this."""
    if not budget:
        return attach(listener=listener, recall=recall)
    cache = NamesCache(budget, counts)
    namespace = attach(listener=cache.listening(listener), recall=cache.recalling(recall))
    if answering is None or namespace.inline or namespace.read_only:
        return CachingNamespace(namespace, cache)
    return CachingNamespace(namespace, cache, Answering(namespace, cache, answering, listener))
