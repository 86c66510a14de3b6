"""Packs the events of one trigger into nine bytes each, and thins them with age. Pure.

Times are tenths of a second since the journal began. Each event belongs to a track, and is valid until the next one of
that track.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

ACTIVE, INACTIVE, SETTLING, HELD, ERROR, VALUE, FAULT, HEALED, STREAM, ASKED = range(10)
KINDS = ("active", "inactive", "settling", "held", "error", "value", "fault", "healed", "stream", "asked")
WITH_TEXT = frozenset({HELD, ERROR, FAULT})
"""The kinds whose number refers to a text."""
FLAG = 16
"""The bits above the kind are the index of the metric, or for `SETTLING` and `HELD` the activity."""
MAX_METRICS = 16
DAY = 24 * 36_000
STEPS = ((36_000, 150), (6 * 36_000, 600), (DAY, 3_000))
"""Up to each age, only the highest and the last value of each step are kept."""
WIDEST = 64
"""Maximum factor for the steps if memory is short; after that the oldest events are dropped."""

_RECORD = Struct("<IBf")
RECORD_BYTES = _RECORD.size
LARGEST = 3e38
"""A larger number does not fit; a backend may say anything."""


class Record(NamedTuple):
    """One event; `number` is a value, a count, seconds, or the number of a text."""

    at: int
    code: int
    number: float

    @property
    def kind(self) -> int:
        """Return its kind, an index of `KINDS`."""
        return self.code % FLAG

    @property
    def flag(self) -> int:
        """Return the index of the metric, or the activity."""
        return self.code // FLAG


def pack(at: int, code: int, number: float = 0.0) -> bytes:
    """Return a packed record; values are floats of 32 bits, which is enough for all that KEDA is told (at most 1e12)."""
    return _RECORD.pack(at, code, min(number, LARGEST))


def unpack(records: bytes | bytearray) -> Iterator[Record]:
    """Return the packed records, in their order."""
    return map(Record._make, _RECORD.iter_unpack(records))


def track(code: int) -> int:
    """Return the track of events with `code`: all states are one track, each metric has its own."""
    kind = code % FLAG
    if kind <= ERROR:
        return ERROR
    return HEALED if kind == FAULT else code if kind == VALUE else kind


def thin(records: bytes | bytearray, now: int, widening: int = 1) -> bytearray:
    """Return `records` without those that are no longer needed.

    Of values, each step keeps the highest and the last; of other events, the first of each kind and the last. Of events
    older than a day only the last of each track is kept, as it may still be valid.
    """
    return _chosen(records, _kept(records, now, widening))


def _kept(records: bytes | bytearray, now: int, widening: int) -> set[int]:
    kept: set[int] = set()
    best: dict[tuple[int, int, int], int] = {}
    last: dict[tuple[int, int, int], int] = {}
    numbers: list[float] = []
    for index, (at, code, number) in enumerate(_RECORD.iter_unpack(records)):
        numbers.append(number)
        width = _width(now - at)
        step = -1 if width == 0 else at // (width * widening)
        of = track(code)
        last[of, width, step] = index
        if step < 0:
            continue  # older than a day, and not the last of its track
        key = (code, width, step)
        before = best.get(key)
        if before is None or (code % FLAG == VALUE and number > numbers[before]):
            best[key] = index
    kept.update(last.values())
    kept.update(best.values())
    return kept


def _width(age: int) -> int:
    for oldest, width in STEPS:
        if age < oldest:
            return width
    return 0


def _chosen(records: bytes | bytearray, kept: set[int]) -> bytearray:
    return bytearray().join(records[index * RECORD_BYTES : (index + 1) * RECORD_BYTES] for index in sorted(kept))


def fit(records: bytes | bytearray, now: int, room: int) -> tuple[bytearray, int | None]:
    """Return `records` thinned to at most `room` bytes, and from when on they are complete if old ones were dropped.

    The last of each track is always kept.
    """
    widening = 1
    thinned = thin(records, now)
    while len(thinned) > room and widening < WIDEST:
        widening *= 2
        thinned = thin(thinned, now, widening)
    if len(thinned) <= room:
        return thinned, None
    rest = list(unpack(thinned))
    last = set({track(record.code): index for index, record in enumerate(rest)}.values())
    first = max(0, len(rest) - room // RECORD_BYTES)
    kept = last | set(range(min(len(rest), first + len(last)), len(rest)))
    return _chosen(thinned, kept), rest[min(first, len(rest) - 1)].at
