"""The projected objects of one place, within the limit of its tenant."""

import itertools
from typing import Any

from scaler.clients.kubernetes.json_stream import JsonObject
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.core.budget import Budget
from scaler.core.errors import Refused, Unavailable

_contents = itertools.count(1)


OBJECT_BYTES = 1024
"""An object of which more than this is kept counts as several; most are 0.7 KB."""


class TooManyObjectsError(Refused):
    """The places of a tenant have more objects than its share of what the configuration allows."""


class Kept:
    """The objects of one place by namespace and name, and the errors of those that cannot be projected."""

    def __init__(self, place: Objects, room: Budget) -> None:
        """Start empty; objects of the present tenant count against `room`."""
        self._place, self._room = place, room.held()
        self._objects: dict[str, Any] = {}
        self._broken: dict[str, str] = {}
        self._content: ObjectList | None = None  # None: it has changed since it was last returned

    def __len__(self) -> int:
        return len(self._objects) + len(self._broken)

    @property
    def changed(self) -> bool:
        """Whether the content has changed since it was last returned."""
        return self._content is None

    def content(self, now: float) -> ObjectList:
        """Return all objects, valid at Unix time `now`; raises `Unavailable` if one cannot be projected."""
        if self._broken:
            key, why = next(iter(self._broken.items()))
            raise Unavailable(f"{self._place}: {key} cannot be understood ({why})")
        if self._content is None:
            self._content = ObjectList(tuple(self._objects.values()), next(_contents), 0)
        return ObjectList(self._content.objects, self._content.version, now)

    def keep(self, found: JsonObject) -> None:
        """Keep the projection of an object; raises `TooManyObjectsError`, after forgetting all objects."""
        key, why = key_of(found), None
        try:
            value = self._place.project(found)
        except Exception as error:  # noqa: BLE001 - an object may hold anything; skipping it would mean that it does
            # not exist
            value, why = None, type(error).__name__
        self._put(key, value, why)

    def drop(self, found: JsonObject) -> None:
        """Forget an object."""
        self._put(key_of(found), None, None)

    def clear(self) -> None:
        """Forget all objects."""
        self._room.resize(0)
        self._objects.clear()
        self._broken.clear()
        self._content = None

    def _put(self, key: str, value: Any, why: str | None) -> None:
        if self._objects.get(key) == value and self._broken.get(key) == why:
            return
        self._content = None
        more = _weight(value, why) - _weight(self._objects.get(key), self._broken.get(key))
        try:
            self._room.resize(self._room.amount + more)
        except Unavailable as full:
            self.clear()
            raise TooManyObjectsError(f"{self._place}: no room: {full}") from None
        _set(self._objects, key, value)
        _set(self._broken, key, why)


def _weight(value: Any, why: str | None) -> int:
    """Return as how many objects it counts."""
    return 0 if value is None and why is None else 1 + len(repr(value)) // OBJECT_BYTES


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def metadata_of(found: JsonObject) -> JsonObject:
    """Return the metadata of an object; raises `BadAnswerError`."""
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        raise BadAnswerError("an object without metadata")
    return metadata


def key_of(found: JsonObject) -> str:
    """Return the namespace and name of an object; raises `BadAnswerError`."""
    metadata = metadata_of(found)
    if not metadata.get("name"):
        raise BadAnswerError("an object without a name")
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
