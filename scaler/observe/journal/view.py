"""The journal as plain data, for `/api/journal`, `explain --at`, `top` and the charts of the page. No secrets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaler.answers.registry import SILENCE_SECONDS
from scaler.observe.journal.line import Line
from scaler.observe.journal.records import (
    ASKED,
    ERROR,
    FLAG,
    HELD,
    KINDS,
    SETTLING,
    STREAM,
    VALUE,
    WITH_TEXT,
    Record,
    track,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaler.core.clock import Clock
    from scaler.observe.journal.journal import Journal
    from scaler.observe.journal.refusals import Refusal

DAY_SECONDS = 86_400.0
MAX_TRIGGERS = 500
CHART_STEP_SECONDS, CHART_STEPS = 30.0, 120


class View:
    """Reads a journal; times are Unix seconds."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.journal, self._clock = journal, clock

    @property
    def since(self) -> float:
        """Return when the journal began."""
        return round(self._clock.wall() - self._clock.now() + self.journal.began, 1)

    def whole(
        self,
        namespace: str | None = None,
        name: str | None = None,
        begin: float | None = None,
        end: float | None = None,
    ) -> dict[str, Any]:
        """Return the journal of the triggers of that name between two Unix times, as described in docs/journal.md."""
        now = self._clock.wall()
        end = now if end is None else end
        begin = now - DAY_SECONDS if begin is None else begin
        lines: list[Line] = self.journal.lines.of(namespace) if namespace is not None else list(self.journal.lines)
        lines = [line for line in lines if name in {None, line.name}]
        offset = now - self._clock.now()
        refusals = self.journal.refusals.between(namespace, name, begin - offset, end - offset)
        triggers = [self._trigger(line, begin, end) for line in lines[:MAX_TRIGGERS]]
        triggers += [self._refused(refusal) for refusal in refusals[: MAX_TRIGGERS - len(triggers)]]
        triggers.sort(key=lambda each: (each["namespace"], each["name"], -(each["lastAsked"] or 0)))
        return {
            "since": self.since,
            "now": round(now, 1),
            "from": round(begin, 1),
            "to": round(end, 1),
            "omitted": len(lines) + len(refusals) - len(triggers),
            "triggers": triggers,
        }

    def _unix(self, tenths: float) -> float:
        return round(self.since + tenths / 10, 1)

    def asked_at(self, line: Line) -> float | None:
        """Return KEDA's last call, in tenths of a second since the journal began, or None."""
        if line.scaled_object is None:
            return line.asked_at
        return (line.scaled_object.asked_at - self.journal.began) * 10 if line.scaled_object.calls else None

    def _trigger(self, line: Line, begin: float, end: float) -> dict[str, Any]:
        asked = self.asked_at(line)
        return {
            "namespace": line.namespace,
            "name": line.name,
            "source": line.source,
            "metricType": line.metric_type,
            "specs": [{"name": spec.name, "target": spec.target} for spec in line.specs],
            "since": self._unix(line.since),
            "lastAsked": None if asked is None else self._unix(asked),
            "streams": 0 if line.scaled_object is None else len(line.scaled_object.listeners),
            "events": self.events(line, begin, end),
        }

    def _refused(self, refusal: Refusal) -> dict[str, Any]:
        first, last = (self._unix((at - self.journal.began) * 10) for at in (refusal.first, refusal.last))
        details = {"code": refusal.code, "message": refusal.message, "count": refusal.count, "until": last}
        return {
            "namespace": refusal.namespace,
            "name": refusal.name,
            "source": refusal.source,
            "metricType": None,
            "specs": [],
            "since": first,
            "lastAsked": last,
            "streams": 0,
            "events": [{"at": first, "kind": "refused", **details}],
        }

    def events(self, line: Line, begin: float, end: float) -> list[dict[str, Any]]:
        """Return the events of `line` from `begin` to `end` (Unix time), and the newest of each track before."""
        first, last = ((at - self.since) * 10 for at in (begin, end))
        values: list[float | None] = [None] * len(line.specs)
        shown: list[dict[str, Any]] = []
        for record in within(line.records, first, last):
            if record.kind == VALUE:
                values[record.flag] = rounded(record.number)
                if shown and shown[-1]["kind"] == "value" and shown[-1]["at"] == self._unix(record.at):
                    shown[-1]["values"] = list(values)
                    continue
            elif record.kind == ERROR:
                values = [None] * len(line.specs)
            shown.append({"at": self._unix(record.at), "kind": KINDS[record.kind], **self._fields(record, values)})
        return shown

    def _fields(self, record: Record, values: list[float | None]) -> dict[str, Any]:
        kind = record.kind
        fields: dict[str, Any] = {}
        if kind in {SETTLING, HELD}:
            fields["active"] = bool(record.flag)
        if kind in WITH_TEXT:
            fields["message"] = self.journal.texts[int(record.number)]
        if kind == VALUE:
            fields["values"] = list(values)
        elif kind == ERROR:
            code, _, message = fields["message"].partition(" ")
            fields = {"code": code, "message": message}
        elif kind == STREAM:
            fields["open"] = int(record.number)
        elif kind == ASKED:
            fields["after"] = rounded(record.number)
        return fields

    def recent(self, line: object) -> list[float | None]:
        """Return the first metric's value of each half minute of the last hour, oldest first; None where unknown."""
        if not isinstance(line, Line) or not line.records:
            return []
        now, asked = self.journal.now(), self.asked_at(line)
        silent = 10 * max(SILENCE_SECONDS, 2 * line.gap)
        ends = now if asked is None or now - asked <= silent else asked
        return course(list(unpack(line.records)), now, ends)


def within(events: bytes | bytearray, first: float, last: float) -> list[Record]:
    """Return the records between two times, and before them the last older one of each track."""
    before: dict[int, Record] = {}
    found = []
    for record in sorted(
        unpack(events), key=lambda each: each.at
    ):  # sorted, because the end of a stream is noted later
        if record.at < first:
            if record.kind == ERROR:
                before = {code: each for code, each in before.items() if code % FLAG != VALUE}
            before.pop(track(record.code), None)
            before[track(record.code)] = record
        elif record.at <= last:
            found.append(record)
    return sorted(before.values(), key=lambda each: each.at) + found


def course(events: Sequence[Record], now: int, ends: float) -> list[float | None]:
    """Return the value at each step of the chart until `now`; after `ends` it is unknown."""
    step = int(CHART_STEP_SECONDS * 10)
    begin = now - step * CHART_STEPS
    values: list[float | None] = [None] * CHART_STEPS
    known: list[tuple[float, float | None]] = []
    for record in events:
        if record.code == VALUE:
            known.append((record.at, rounded(record.number)))
        elif record.kind == ERROR:
            known.append((record.at, None))
        elif record.kind == ASKED:
            last = known[-1][1] if known else None
            known += [(record.at - 10 * record.number, None), (record.at, last)]
    known.append((ends, None) if ends < now else (math.inf, None))
    position, value = 0, None
    for index in range(CHART_STEPS):
        while position < len(known) and known[position][0] <= begin + (index + 1) * step:
            value = known[position][1]
            position += 1
        values[index] = value
    return values


def rounded(number: float) -> float:
    """Return a 32-bit float rounded to its exact digits."""
    return float(f"{number:.7g}")
