"""What KEDA is told: `answer_nowait` holds the rule, `answer` only waits for places and then asks it again.

A trigger is judged anew when a reading of its places is another than the one it was judged by, when time alone has
changed something, and while it settles. An error or a new reading replaces the whole `Answer`, so that nothing of the
old one is left over.
"""

import math
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from scaler.answers.leases import Leases
from scaler.answers.scaledobject import ScaledObject
from scaler.answers.settling import evidence, hold, note_error, settle
from scaler.answers.state import Answer, Poll, ToldError
from scaler.core.clock import Clock
from scaler.core.domain import Place, Reading, same_values
from scaler.core.errors import Defect, Fault, ScalerError
from scaler.core.logs import Once, get_logger
from scaler.store.place_state import PlaceState
from scaler.store.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger()

SAME_POLL_SECONDS = 2.0
"""KEDA asks IsActive right after GetMetrics; within this time both get the same answer, or the same error."""
LONGEST_VALID_SECONDS = 30.0
"""An answer is looked at anew at least this often, so that what has happened to it is noted."""


class Answers:
    """Answers for triggers, from what the store knows.

    `on_answer` is called with each that was judged and whether its activity is news, `on_places` with an asker and the
    places that its readings named before, when they name others; `on_noted` with an asker whose answer or error was
    replaced, `on_spare` with each that was judged and wants its busy pods spared.
    """

    def __init__(self, snapshots: Snapshots, leases: Leases, clock: Clock) -> None:
        """Judge by the readings of `snapshots`, which `leases` keep fresh."""
        self._snapshots, self._leases, self._clock = snapshots, leases, clock
        self._once = Once(clock)
        self.on_answer: Callable[[ScaledObject, bool], None] = lambda _asker, _news: None
        self.on_noted: Callable[[ScaledObject], None] = lambda _asker: None
        self.on_places: Callable[[ScaledObject, tuple[Place, ...]], None] = lambda _asker, _before: None
        self.on_spare: Callable[[ScaledObject], None] = lambda _asker: None

    def answer_nowait(self, asker: ScaledObject) -> Answer | None:
        """Return what `asker` is to be told now, or None if a reading has to be waited for.

        Raises `LimitError`, or the `Fault` of a place that has no reading young enough, unless the last answer is held.
        """
        answer = asker.answer
        if answer is not None and self._clock.now() < answer.valid_until and asker.lease.has_newest(answer.readings):
            return answer
        return None if asker.trigger.refresh_seconds == 0 else self._answer(asker)

    async def answer(self, asker: ScaledObject, timeout_seconds: float) -> Answer:
        """Return what `asker` is to be told now, waiting at most `timeout_seconds` for readings not known yet.

        Raises what `answer_nowait` raises, and `Unavailable` for a place that was not read in time.
        """
        if (answer := self.answer_nowait(asker)) is not None:
            return answer
        began = self._clock.now()
        begun_at = began if asker.trigger.refresh_seconds == 0 else None
        end, lease = began + timeout_seconds, None
        self._lease(asker)
        while lease is not asker.lease:  # readings may name further places
            lease = asker.lease
            missing = self._missing(asker, begun_at=begun_at)
            await self._snapshots.wait(missing, end - self._clock.now(), anew=begun_at is not None)
            # What a slow backend has said meanwhile counts, even if it is older than it should be.
            if (answer := self._answer(asker, waited=True, begun_at=begun_at)) is not None:
                return answer
        return self._failed(asker, self._late(asker, begun_at=begun_at))

    def known(self, asker: ScaledObject) -> Answer | None:
        """Return what a stream, for which nobody waits, is to say by what the store knows; None if that is not enough.

        Whatever is not known any more is noted as an error, so that the next answer is news, and wakes the stream.
        """
        try:
            answer = self._answer(asker, waited=True)
            if answer is None and asker.answer is not None:
                return self._failed(asker, self._late(asker))
        except ScalerError:
            return None
        return answer

    # GetMetrics and the IsActive that follows it

    def note_poll(self, asker: ScaledObject, outcome: Answer | ScalerError) -> None:
        """Remember what GetMetrics was told."""
        asker.poll = Poll(self._clock.now(), outcome)

    def polled(self, asker: ScaledObject) -> Answer | None:
        """Return what GetMetrics was told a moment ago, or None; raises the error that it was told."""
        poll = asker.poll
        if poll is None or self._clock.now() - poll.at > SAME_POLL_SECONDS:
            return None
        if isinstance(poll.outcome, ScalerError):
            raise poll.outcome.untraced()
        return poll.outcome

    # The rule

    def _answer(self, asker: ScaledObject, *, waited: bool = False, begun_at: float | None = None) -> Answer | None:
        self._lease(asker)
        try:
            readings = self._readings(asker, waited=waited, begun_at=begun_at)
            return None if readings is None else self._judge(asker, readings)
        except Fault as fault:
            return self._failed(asker, fault)
        except ScalerError as error:
            self._note_error(asker, error)
            raise
        except Exception:
            if self._once(asker.key):
                log.exception("cannot judge", namespace=asker.namespace, scaledobject=asker.name)
            return self._failed(asker, Defect("internal error of the scaler; its log says more"))

    def _lease(self, asker: ScaledObject) -> None:
        try:
            self._leases.keep(asker)
        except ScalerError as error:
            self._note_error(asker, error)
            raise

    def _reading(
        self, asker: ScaledObject, state: PlaceState, *, waited: bool = False, begun_at: float | None = None
    ) -> Reading | None:
        """Return the reading of one place if it is young enough, or None if it has to be waited for; raises its `Fault`."""
        trigger, now = asker.trigger, self._clock.now()
        if begun_at is not None:
            return self._snapshots.current(state, begun_at, begun_at)
        stale_at = now - trigger.stale_seconds - state.place.min_refresh_seconds
        wanted_at = stale_at if waited else max(stale_at, now - state.fresh_seconds(trigger.refresh_seconds))
        return self._snapshots.current(state, wanted_at, stale_at)

    def _missing(self, asker: ScaledObject, *, waited: bool = False, begun_at: float | None = None) -> list[PlaceState]:
        """Return the places that have no reading young enough, and no fault either."""
        missing = []
        for state in asker.lease.held:
            with suppress(Fault):
                if self._reading(asker, state, waited=waited, begun_at=begun_at) is None:
                    missing.append(state)
        return missing

    def _late(self, asker: ScaledObject, *, begun_at: float | None = None) -> Fault:
        """Return why there is no answer although no place has a fault."""
        return self._snapshots.unanswered(self._missing(asker, waited=True, begun_at=begun_at)[0])

    def _readings(self, asker: ScaledObject, *, waited: bool, begun_at: float | None) -> tuple[Reading, ...] | None:
        """Return the readings of all places, those that readings name included; None if one has to be waited for."""
        readings: list[Reading] = []
        named = len(asker.question.places)
        for number, state in enumerate(asker.lease.held):
            if number == named and self._found(asker, tuple(readings)):
                return self._readings(asker, waited=waited, begun_at=begun_at)
            reading = self._reading(asker, state, waited=waited, begun_at=begun_at)
            if reading is None:
                return None
            readings.append(reading)
        if len(readings) == named and self._found(asker, tuple(readings)):
            return self._readings(asker, waited=waited, begun_at=begun_at)
        return tuple(readings)

    def _found(self, asker: ScaledObject, readings: tuple[Reading, ...]) -> bool:
        """Lease what the first readings name, if they name others than before; tell whether that is so."""
        answer = asker.answer
        if not asker.question.finds or (answer is not None and same_values(answer.readings[: len(readings)], readings)):
            return False
        values = (reading.value for reading in readings)
        found = asker.trigger.found(dict(zip(asker.question.places, values, strict=True)))
        before = asker.lease.found
        if found == before:
            return False
        self._leases.renew(asker, found)
        self.on_places(asker, before)
        return True

    def _judge(self, asker: ScaledObject, readings: tuple[Reading, ...]) -> Answer:
        """Assess anew if a reading has changed or the time has come, and settle."""
        before, trigger, now, wall = asker.answer, asker.trigger, self._clock.now(), self._clock.wall()
        raw = None if before is None or not same_values(before.readings, readings) else before.raw
        places = asker.places
        if raw is None or wall >= raw.until:
            values = {place: reading.value for place, reading in zip(places, readings, strict=True)}
            raw = trigger.assess(values, wall)
        seen, told_before = evidence(places, readings, now), asker.settling.told
        asker.settling, told = settle(asker.settling, raw, seen, asker.question.rule)
        if told_before is None or told_before.active != told.active:  # whatever errors were told in between
            asker.active_since = now
        if asker.settling.is_settling:
            return self._note(asker, Answer(readings, raw, told, "settling"))
        valid_until = min(now + LONGEST_VALID_SECONDS, now + raw.until - wall, asker.lease.renew_at)
        for state, reading in zip(asker.lease.held, readings, strict=True):
            stale_seconds = trigger.stale_seconds + state.place.min_refresh_seconds
            valid_until = min(
                valid_until, reading.at + min(state.fresh_seconds(trigger.refresh_seconds), stale_seconds)
            )
        if trigger.refresh_seconds == 0:
            valid_until = -math.inf
        return self._note(
            asker, Answer(readings, raw, told, "active" if told.active else "inactive", valid_until, raw.until)
        )

    def _failed(self, asker: ScaledObject, fault: Fault) -> Answer:
        """Return the last answer, held, or note the error and raise it."""
        trigger, now = asker.trigger, self._clock.now()
        held = None
        if trigger.refresh_seconds > 0:  # with 0 nothing old is ever told
            held = hold(asker.settling, asker.specs, now, asker.question.rule, str(fault))
        if held is None:
            self._note_error(asker, fault)
            raise fault
        if self._once(("held", asker.key)):
            about = {"namespace": asker.namespace, "scaledobject": asker.name}
            log.warning("the last answer is held", why=str(fault), hold_seconds=trigger.hold_seconds, **about)
        return self._note(asker, Answer((), None, held, "held", fault=fault.untraced()))

    def _note(self, asker: ScaledObject, answer: Answer) -> Answer:
        """Make `answer` that of `asker`, and tell whoever listens."""
        before = asker.answer
        if before is not None and before.told.metrics == answer.told.metrics:
            answer = replace(answer, wire=before.wire)  # the messages would be the same
        news = before is None or before.told.active != answer.told.active
        asker.answer, asker.error = answer, None
        self.on_noted(asker)
        self.on_answer(asker, news)
        if asker.question.spares:
            self.on_spare(asker)
        return answer

    def _note_error(self, asker: ScaledObject, error: ScalerError) -> None:
        now = self._clock.now()
        asker.settling = note_error(asker.settling, now)
        asker.answer, asker.error = None, ToldError(error.untraced(), now)
        self.on_noted(asker)
