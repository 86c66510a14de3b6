"""The storage of the API double: objects as JSON text, and the history for watches and paged lists."""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


class ExpiredError(Exception):
    """The resource version is compacted, or in the future."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object that the double serves."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True, slots=True)
class Stored:
    """One object at one resource version."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    version: int
    text: str = field(repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name, the order of lists."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after one resource version; None if it did not or does not exist."""

    version: int
    before: Stored | None
    after: Stored | None


@dataclass(slots=True)
class _Shelf:
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)


Matches = Callable[[Stored], bool]


class Store:
    """All objects of all kinds, under one counter of resource versions as in etcd."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        """Start empty, at version 1000."""
        self._shelves = {kind: _Shelf() for kind in kinds}
        self._uids = itertools.count(1)
        self.version = 1000
        self.oldest = 1000

    def get(self, kind: Kind, namespace: str, name: str) -> JsonObject | None:
        """Return an object, or None."""
        stored = self._shelves[kind].objects.get((namespace, name))
        found: JsonObject | None = json.loads(stored.text) if stored else None
        return found

    def put(self, kind: Kind, document: Mapping[str, Any]) -> JsonObject:
        """Create or replace an object; `uid`, `resourceVersion` and `generation` are set as an API server does."""
        shelf = self._shelves[kind]
        metadata = dict(document["metadata"])
        key = metadata.get("namespace", ""), metadata["name"]
        before = shelf.objects.get(key)
        new: JsonObject = {"metadata": {"uid": f"uid-{next(self._uids)}", "generation": 0}}
        old: JsonObject = json.loads(before.text) if before else new
        self.version += 1
        metadata["uid"] = old["metadata"]["uid"]
        metadata["generation"] = old["metadata"]["generation"] + (document.get("spec") != old.get("spec") or not before)
        metadata["resourceVersion"] = str(self.version)
        result = {**document, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        after = Stored(*key, metadata.get("labels") or {}, self.version, _text(result))
        shelf.objects[key] = after
        shelf.history.append(Change(self.version, before, after))
        return result

    def delete(self, kind: Kind, namespace: str, name: str) -> JsonObject | None:
        """Remove an object, and return its last state at the version of its removal."""
        shelf = self._shelves[kind]
        before = shelf.objects.pop((namespace, name), None)
        if before is None:
            return None
        self.version += 1
        shelf.history.append(Change(self.version, before, None))
        last: JsonObject = json.loads(_at_version(before, self.version).text)
        return last

    def snapshot(self, kind: Kind, matches: Matches, at: int) -> list[Stored]:
        """Return the objects at version `at`, in order; raises `ExpiredError`."""
        shelf = self._shelves[kind]
        objects = dict(shelf.objects)
        for change in reversed(self.changes(kind, at)):
            if change.before is None:
                del objects[change.after.key]  # type: ignore[union-attr]  # a change has `before` or `after`
            else:
                objects[change.before.key] = change.before
        return sorted((stored for stored in objects.values() if matches(stored)), key=lambda stored: stored.key)

    def changes(self, kind: Kind, since: int) -> list[Change]:
        """Return the changes after version `since`, oldest first; raises `ExpiredError`."""
        if not self.oldest <= since <= self.version:
            raise ExpiredError
        history = self._shelves[kind].history
        start = len(history)
        while start and history[start - 1].version > since:
            start -= 1
        return history[start:]

    def compact(self) -> None:
        """Forget the history, as etcd does after five minutes."""
        self.oldest = self.version
        for shelf in self._shelves.values():
            shelf.history.clear()


def seen_by(change: Change, matches: Matches) -> tuple[str, Stored] | None:
    """Return the event of `change` for a watch with `matches`; an object that stops matching is DELETED for it."""
    before = change.before if change.before and matches(change.before) else None
    after = change.after if change.after and matches(change.after) else None
    if after:
        return ("MODIFIED" if before else "ADDED"), after
    return ("DELETED", _at_version(before, change.version)) if before else None


def _at_version(stored: Stored, version: int) -> Stored:
    """Return the last state of an object with the version of its removal, as in a DELETED event."""
    document = json.loads(stored.text)
    document["metadata"]["resourceVersion"] = str(version)
    return Stored(stored.namespace, stored.name, stored.labels, version, _text(document))


def _text(document: JsonObject) -> str:
    return json.dumps(document, separators=(",", ":"))
