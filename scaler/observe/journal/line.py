"""The journal's line of one trigger."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from scaler.observe.journal import records
from scaler.observe.journal.records import RECORD_BYTES, WITH_TEXT, fit, pack, unpack

if TYPE_CHECKING:
    from scaler.answers.scaledobject import ScaledObject
    from scaler.core.domain import Metric, MetricSpec
    from scaler.observe.journal.texts import Texts

LINE_BYTES = 620
"""Approximate memory of a line without its events, with its dictionary entries."""
FIRST_LIMIT = 64 * RECORD_BYTES


class Line:
    """The events of one trigger, and its last state, so that only changes are noted. Times are tenths of a second."""

    __slots__ = (
        "asked_at",
        "closed_at",
        "code",
        "fault",
        "fault_at",
        "gap",
        "gap_at",
        "key",
        "limit",
        "metric_type",
        "metrics",
        "name",
        "namespace",
        "records",
        "scaled_object",
        "since",
        "source",
        "specs",
        "streams",
        "text",
        "text_at",
    )

    def __init__(self, scaled_object: ScaledObject, key: bytes, now: int) -> None:
        self.key, self.namespace, self.name = key, scaled_object.namespace, scaled_object.name
        self.source: str = scaled_object.trigger.source
        self.metric_type: str = scaled_object.trigger.metric_type
        self.specs: tuple[MetricSpec, ...] = scaled_object.specs
        self.records = bytearray()
        self.since, self.limit = now, FIRST_LIMIT
        self.code = -1  # the last state
        self.text, self.text_at = "", now  # the error, or why it is held
        self.metrics: tuple[Metric, ...] = ()
        self.fault, self.fault_at = "", now  # the fault of a place, "" without one
        self.streams, self.closed_at = 0, -1  # when they were closed, if that is not noted yet
        self.scaled_object: ScaledObject | None = scaled_object
        self.asked_at: int | None = None  # the last call of a forgotten ScaledObject
        self.gap, self.gap_at = 0.0, now  # the last silence, in seconds, and when it ended

    @property
    def bytes(self) -> int:
        """Approximate memory without its texts; a bytearray grows by an eighth."""
        return LINE_BYTES + len(self.records) * 9 // 8

    def append(self, at: int, code: int, number: float = 0.0) -> None:
        """Append one event."""
        self.records += pack(at, code, number)

    def fit(self, now: int, room: int, texts: Texts) -> None:
        """Thin the events until they take at most `room` bytes, and release the texts of removed ones."""
        before = self.records
        self.records, since = fit(before, now, room)
        if since is not None:
            self.since = max(self.since, since)
        self.limit = 2 * len(self.records) + FIRST_LIMIT
        if len(self.records) < len(before):
            for record in unpack(self.records):
                if record.kind in WITH_TEXT:
                    texts.keep(int(record.number))
            let_go(before, texts)


def let_go(events: bytes | bytearray, texts: Texts) -> None:
    """Release the texts of `events`."""
    for record in unpack(events):
        if record.kind in WITH_TEXT:
            texts.give_back(int(record.number))


def digest(key: bytes) -> bytes:
    """Return a hash that identifies the metadata of a trigger after it is forgotten."""
    return blake2b(key, digest_size=12).digest()


def state_code(state: str, active: bool) -> int:  # noqa: FBT001 - the activity of an answer
    """Return the code for the state of an answer."""
    kind = records.KINDS.index(state)
    return kind + (records.FLAG if active and kind in {records.SETTLING, records.HELD} else 0)
