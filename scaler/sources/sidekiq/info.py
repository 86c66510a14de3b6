"""Parses `info` of heartbeats: queues, threads, tag and labels of a process. Processes with equal ones share it."""

import json
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

MAX_VALUES = 20_000
"""JSON with more commas is not parsed: 700 queues take 2,000, and 20,000 keep the event loop for 30 ms."""
MAX_COUNT = 1_000_000
"""More threads than any process has; a greater number is garbage."""
CACHED_BYTES = 8 << 20
"""The cache takes up to twice as much, enough for 40,000 processes of the usual size."""
_ENTRY_BYTES = 200
_END = "\0"


class Names(AbstractSet[str]):
    """A set of names in one string: 700 names take 7 kB, in a set of strings 70 kB."""

    __slots__ = ("text",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Raise `ValueError` for a name with NUL, which is the separator."""
        kept = sorted(set(names))
        if any(_END in name for name in kept):
            raise ValueError("a NUL in a name")
        self.text = _END + "".join(f"{name}{_END}" for name in kept)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and f"{_END}{name}{_END}" in self.text

    def __iter__(self) -> Iterator[str]:
        return iter(self.text[1:-1].split(_END) if len(self.text) > 1 else ())

    def __len__(self) -> int:
        return self.text.count(_END) - 1

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if isinstance(other, Names) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Names({list(self)})"


@dataclass(frozen=True, slots=True)
class Capsule:
    """A part of a process with its own threads and queues (sidekiq capsule.rb)."""

    name: str
    concurrency: int | None
    queues: AbstractSet[str]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Info:
    """The `info` of a process, which it sets when it starts."""

    tag: str
    labels: AbstractSet[str]
    queues: AbstractSet[str]
    capsules: tuple[Capsule, ...]
    concurrency: int | None

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        names = (self.queues, self.labels, *(capsule.queues for capsule in self.capsules))
        return 400 + len(self.tag) + sum(len(one.text) if isinstance(one, Names) else 100 * len(one) for one in names)


_kept: WeakValueDictionary[Info, Info] = WeakValueDictionary()


class _Seen:
    """A cache of parsed infos: every heartbeat has the process's info, which never changes (sidekiq launcher.rb).

    The key is the hash of the bytes, because the bytes of 20,000 processes would take 15 MB.
    """

    def __init__(self) -> None:
        self._new: dict[tuple[int, int], Info | None] = {}
        self._old: dict[tuple[int, int], Info | None] = {}
        self._size = 0

    def parse(self, info_json: bytes) -> Info | None:
        """Return the cached info of `info_json`, or parse it."""
        key = (len(info_json), hash(info_json))
        if key in self._new:
            return self._new[key]
        if key in self._old:
            found = self._old[key]
        else:
            parsed = _parse(info_json)
            found = None if parsed is None else _kept.setdefault(parsed, parsed)
            self._size += 0 if found is not parsed or parsed is None else parsed.size
        self._size += _ENTRY_BYTES
        self._new[key] = found
        if self._size > CACHED_BYTES:
            self._old, self._new, self._size = self._new, {}, 0
        return found


_seen = _Seen()


def parse_info(info_json: bytes) -> Info | None:
    """Return the parsed `info`, or None if it cannot be parsed."""
    return _seen.parse(info_json)


def loads(text: Any) -> Any:
    """Return the parsed JSON that a Redis holds; raises `ValueError` and others for what is none, or has too many values."""
    if isinstance(text, bytes) and len(text) > MAX_VALUES and text.count(b",") > MAX_VALUES:
        raise ValueError("too many values")
    return json.loads(text)


def _parse(info_json: bytes) -> Info | None:
    try:
        info = loads(info_json)
        capsules = tuple(
            Capsule(str(name), count(capsule["concurrency"]), _names(capsule["weights"]))
            for name, capsule in info.get("capsules", {}).items()
        )
        threads = [capsule.concurrency for capsule in capsules]
        of_capsules = sum(filter(None, threads)) if threads and None not in threads else None
        named = Names(name for capsule in capsules for name in capsule.queues)
        queues = named or _names(info["queues"])  # Sidekiq 9 will no longer have `queues` (launcher.rb)
        if not queues:
            return None  # Sidekiq always fetches some, so it is not known which
        return Info(
            tag=_name(info.get("tag") or ""),
            labels=_names(info.get("labels") or []),
            queues=queues,
            capsules=capsules,
            concurrency=count(info["concurrency"]) if "concurrency" in info else of_capsules,
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no name")
    return value


def _names(values: Iterable[Any]) -> Names:
    if not isinstance(values, list | dict):
        raise TypeError("no names")
    return Names(map(_name, values))


def count(value: Any) -> int | None:
    """Return a number of threads from a hash field or from JSON, or None."""
    if isinstance(value, bytes):
        value = int(value) if value.isdigit() and len(value) <= 7 else None
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None
