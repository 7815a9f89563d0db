"""A store whose sessions are trusted for as long as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gravitonfs.content.caching_namespace import CachingNamespace
from gravitonfs.content.names_cache import NamesCache
from gravitonfs.ports.namespace import Claims, Listener, Recall
from gravitonfs.ports.ops import Batch, Reply
from gravitonfs.testing.namespace_suite.caching_model import Local


class Trusted:
    """A namespace as its one holder sees it; ``calls`` counts what is asked of it, by method. ``then`` is
    called when an answer is there and not given yet."""

    def __init__(self, namespace: Any, then: Callable[[str], None] = lambda method: None) -> None:
        self._namespace = namespace
        self._then = then
        self.until = float("inf")
        self.calls: dict[str, int] = {}

    def trusted_until(self) -> float:
        return self.until

    def apply(self, batches: Sequence[Batch], *, durable: bool) -> list[Reply]:
        self._count("apply")
        result: list[Reply] = self._namespace.apply(batches, durable=durable)
        self._then("apply")
        return result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._namespace, name)
        if not callable(found):
            return found

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._count(name)
            answer = found(*args, **kwargs)
            self._then(name)
            return answer

        return counted

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1


class CachingStore:
    """``attach`` gives namespaces that answer what they know from memory."""

    def __init__(self, store: Any, budget: int = 1 << 20, *, answers: bool = False) -> None:
        """``answers``: changes too, where they can be."""
        self._store = store
        self._answers = answers
        self._budget = budget
        self._holders: list[tuple[Trusted, Recall]] = []
        self._made: list[Any] = []

    def attach(
        self,
        volume: str = "main",
        *,
        listener: Listener | None = None,
        recall: Recall | None = None,
        claims: Claims | None = None,
        at: int | None = None,
        **options: Any,
    ) -> Any:
        """The only session is trusted; a second one ends that for good."""
        for holder, call in self._holders:
            if holder.until:
                holder.until = 0.0
                call()
        if at is not None:
            return self._store.attach(volume, at=at, listener=listener, claims=claims, **options)
        cache = NamesCache(self._budget)
        heard = cache.listening(listener)
        trusted = Trusted(self._store.attach(volume, listener=heard, claims=claims, **options))
        if self._holders:
            trusted.until = 0.0
        self._holders.append((trusted, cache.recalling(recall)))
        made = (
            Local(trusted, cache, claims or (lambda ino: False))
            if self._answers and not options.get("read_only")
            else CachingNamespace(trusted, cache)
        )
        self._made.append(made)
        return made

    @property
    def trash_age_ns(self) -> Any:
        return self._store.trash_age_ns

    @trash_age_ns.setter
    def trash_age_ns(self, age: int | None) -> None:
        self._store.trash_age_ns = age

    def create_snapshot(self, volume: str, name: str) -> Any:
        """What was answered is sent first, as when somebody else is let in; but what is known stays."""
        for made in self._made:
            made.settle()
        return self._store.create_snapshot(volume, name)

    def delete_snapshot(self, volume: str, name: str) -> None:
        """Nothing that was known is used any more, as when somebody else is let in."""
        for made, (_, recall) in zip(self._made, self._holders, strict=True):
            made.settle()
            recall()
        self._store.delete_snapshot(volume, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
