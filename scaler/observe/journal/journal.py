"""Notes the changes of each trigger, so that they can be looked up a day later.

All methods are callbacks that note something and return; none reads a backend or waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaler.answers.registry import SILENCE_SECONDS
from scaler.observe.journal import records
from scaler.observe.journal.line import LINE_BYTES, Line, digest, let_go, state_code
from scaler.observe.journal.records import ASKED, DAY, ERROR, FAULT, FLAG, HEALED, HELD, MAX_METRICS, STREAM, VALUE
from scaler.observe.journal.refusals import REFUSAL_BYTES, Refusals
from scaler.observe.journal.shelves import Shelves
from scaler.observe.journal.texts import MAX_TEXT_BYTES, Texts, alike, short

if TYPE_CHECKING:
    from scaler.answers.answer import Answers
    from scaler.answers.listeners import Listeners
    from scaler.answers.registry import Registry
    from scaler.answers.scaledobject import ScaledObject
    from scaler.core.clock import Clock
    from scaler.core.errors import ScalerError
    from scaler.pb.externalscaler_pb2 import ScaledObjectRef

LONGER = 3.0
"""A silence is noted if it is so many times longer than the last, so not for a ScaledObject with a long interval."""
SAME_TEXT = 600
"""Tenths of a second in which another text of the same fault or error is not noted."""
REOPENED = 300
"""Tenths of a second in which a stream may open again without a note, because each ends with its connection."""
LINE_SHARE, REFUSAL_SHARE, TEXT_SHARE = 0.85, 1 / 16, 1 / 16
TEXT_OVERHEAD_BYTES = 300
LOOK_AT = 64
"""Lines looked at for each event while memory is short."""
CODES = {(state, active): state_code(state, active) for state in records.KINDS[: HELD + 1] for active in (False, True)}
NO_LINE: Any = object()
"""Replaces the line of a trigger that was dropped, which gets no new one: else too many triggers would displace each
other."""


class Journal:
    """The events of each trigger in the last 24 hours, within `max_bytes`."""

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._clock = clock
        self.began = clock.now()
        self._room = int(max_bytes * LINE_SHARE)
        self.lines = Shelves[bytes, Line](self._room // (2 * LINE_BYTES))
        self.texts = Texts(int(max_bytes * TEXT_SHARE) // (MAX_TEXT_BYTES + TEXT_OVERHEAD_BYTES))
        self.refusals = Refusals(int(max_bytes * REFUSAL_SHARE) // REFUSAL_BYTES, clock)
        self.used = 0
        self._closed: set[Line] = set()
        self._hand: list[Line] = []

    def follow(self, registry: Registry, answers: Answers, listeners: Listeners) -> None:
        """Register the callbacks at these."""
        registry.on_refused, registry.on_admitted, registry.on_silence = self.refused, self.admitted, self.silence
        registry.on_forget.append(self.forgotten)
        answers.on_noted, listeners.on_streams = self.noted, self.streams

    # Callbacks

    def noted(self, scaled_object: ScaledObject) -> None:
        """Note what has changed in the answer or the error of `scaled_object`."""
        line: Line | None = scaled_object.line
        if line is None:
            line = self._line(scaled_object)
        if line is NO_LINE:
            return
        answer = scaled_object.answer
        if answer is None:
            self._note_error(line)
        else:
            told = answer.told
            code = CODES[answer.state, told.active]
            if code != line.code or code % FLAG == HELD:
                self._note_state(line, code, "" if answer.fault is None else str(answer.fault))
            if told.metrics is not line.metrics and told.metrics != line.metrics:
                self._note_values(line, told.metrics)
        for state in scaled_object.lease.states:
            if state.failing is not None:
                self._note_fault(line, str(state.failing.fault))
                break
        else:
            if line.fault:
                line.fault = ""
                self._append(line, HEALED)

    def streams(self, scaled_object: ScaledObject) -> None:
        """Note the number of open streams of `scaled_object`."""
        line: Line = scaled_object.line or self._line(scaled_object)
        count, now = len(scaled_object.listeners), self.now()
        if line is NO_LINE:
            return
        if count == 0:
            line.closed_at = now
            self._closed.add(line)
            return
        self._closed.discard(line)
        if count != line.streams or (line.closed_at >= 0 and now - line.closed_at > REOPENED):
            if line.closed_at >= 0:
                self._append(line, STREAM, 0, at=line.closed_at)
            self._append(line, STREAM, count)
        line.streams, line.closed_at = count, -1

    def silence(self, scaled_object: ScaledObject, seconds: float) -> None:
        """Note that `scaled_object` was asked about again after `seconds`."""
        if scaled_object.line is not None and scaled_object.line is not NO_LINE:
            self._note_silence(scaled_object.line, seconds)

    def refused(self, ref: ScaledObjectRef, error: ScalerError) -> None:
        """Note that metadata was not accepted."""
        self.refusals.refused(ref.namespace, ref.name, ref.scalerMetadata, error)

    def admitted(self, scaled_object: ScaledObject) -> None:
        """Note that metadata was accepted."""
        self.refusals.admitted(scaled_object.namespace, scaled_object.name)

    def forgotten(self, scaled_object: ScaledObject) -> None:
        """Keep the line of `scaled_object`, which is forgotten, without a reference to it."""
        line: Line | None = scaled_object.line
        if line is not None and line.scaled_object is scaled_object:
            line.asked_at = self._tenths(scaled_object.asked_at) if scaled_object.calls else None
            line.scaled_object, scaled_object.line = None, None

    def tidy(self) -> None:
        """Note streams that have stayed closed, and forget what is older than a day."""
        now = self.now()
        for line in [line for line in self._closed if now - line.closed_at > REOPENED]:
            self._closed.discard(line)
            self._append(line, STREAM, 0, at=line.closed_at)
            line.streams, line.closed_at = 0, -1
        for line in self.lines:
            if line.scaled_object is None and now - (line.asked_at or line.since) > DAY:
                self._drop(self.lines.drop(line.namespace, line.key))
        self.refusals.forget_before(self._clock.now() - DAY / 10)

    # Times

    def now(self) -> int:
        """Return the time since the journal began, in tenths of a second."""
        return self._tenths(self._clock.now())

    def _tenths(self, monotonic: float) -> int:
        return max(0, int((monotonic - self.began) * 10))

    # Implementation

    def _line(self, scaled_object: ScaledObject) -> Line:
        key = digest(scaled_object.key)
        line = self.lines.get(scaled_object.namespace, key)
        if line is None:
            line = Line(scaled_object, key, self.now())
            gone = self.lines.add(scaled_object.namespace, key, line)
            if gone is not None:
                self._drop(gone)
            self.used += line.bytes
        else:
            line.scaled_object = scaled_object
            if line.asked_at is not None:
                self._note_silence(line, (self.now() - line.asked_at) / 10)
        scaled_object.line = line
        return line

    def _drop(self, line: Line) -> None:
        """Forget a line that was removed from the shelves."""
        self.used -= line.bytes
        self._closed.discard(line)
        let_go(line.records, self.texts)
        if line.scaled_object is not None:
            line.scaled_object.line = NO_LINE
        line.records = bytearray()

    def _note_state(self, line: Line, code: int, why: str) -> None:
        if code == line.code and (alike(line.text, why) or self.now() - line.text_at < SAME_TEXT):
            return
        line.code, line.text, line.text_at = code, why, self.now()
        self._append(line, code, self.texts.take(why, line.namespace) if why else 0)

    def _note_error(self, line: Line) -> None:
        scaled_object: Any = line.scaled_object
        error = scaled_object.error.error
        self._note_state(line, ERROR, short(f"{error.code} {error}"))
        line.metrics = ()  # KEDA gets no value

    def _note_values(self, line: Line, metrics: tuple[Any, ...]) -> None:
        before = line.metrics
        for index, metric in enumerate(metrics[:MAX_METRICS]):
            if not before or before[index].value != metric.value:
                self._append(line, VALUE + FLAG * index, metric.value)
        line.metrics = metrics

    def _note_fault(self, line: Line, fault: str) -> None:
        if fault == line.fault or (line.fault and (alike(line.fault, fault) or self.now() - line.fault_at < SAME_TEXT)):
            return
        line.fault, line.fault_at = fault, self.now()
        self._append(line, FAULT, self.texts.take(fault, line.namespace))

    def _note_silence(self, line: Line, seconds: float) -> None:
        now = self.now()
        if now - 10 * seconds - line.gap_at > 10 * LONGER * SILENCE_SECONDS:
            line.gap = 0.0  # there were calls without a silence since
        if seconds >= SILENCE_SECONDS and seconds > LONGER * line.gap:
            self._append(line, ASKED, seconds)
        line.gap, line.gap_at = seconds, now

    def _append(self, line: Line, code: int, number: float = 0.0, at: int | None = None) -> None:
        before = line.bytes
        now = self.now()
        line.append(now if at is None else at, code, number)
        if len(line.records) > line.limit:
            line.fit(now, self._room, self.texts)
        self.used += line.bytes - before
        if self.used > self._room:
            self._make_room(now)

    def _make_room(self, now: int) -> None:
        """Thin the next line that takes more than its share; only a few lines are looked at for each event."""
        share = self._room // len(self.lines)
        for _ in range(LOOK_AT):
            if not self._hand:
                self._hand = list(self.lines)
            line = self._hand.pop()
            if (before := line.bytes) > share:
                line.fit(now, max(0, share - LINE_BYTES) // 2, self.texts)
                self.used += line.bytes - before
                return
