"""Makes the answers: `answer_nowait` holds the rule, `answer` only waits for readings and then applies the same rule.

A trigger is judged again when a place has a reading with another value, when the passing of time changes the result
(`Assessment.until`), and while it settles. Every judgement and every error replaces the whole `Answer`, so that nothing
of the old one can be left over.
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
from scaler.core.domain import Reading, same_values
from scaler.core.errors import Defect, Fault, ScalerError
from scaler.core.logs import Once, get_logger
from scaler.store.place_state import PlaceState
from scaler.store.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger()

SAME_POLL_SECONDS = 2.0
"""KEDA calls IsActive right after GetMetrics; within this time both get the same answer, or the same error."""
LONGEST_VALID_SECONDS = 30.0
"""An answer is judged again at least this often, so that the journal also notes faults that do not change it."""


class Answers:
    """Answers for triggers, made from the readings of the store.

    The callbacks take the ScaledObject concerned:

    - `on_answer`: it has a new answer; also whether its activity has changed
    - `on_noted`: its answer or its error was replaced
    - `on_spare`: it has a new answer, and its trigger has `spareBusy`
    """

    def __init__(self, snapshots: Snapshots, leases: Leases, clock: Clock) -> None:
        """Use the readings of `snapshots`, which `leases` keep fresh."""
        self._snapshots, self._leases, self._clock = snapshots, leases, clock
        self._once = Once(clock)
        self.on_answer: Callable[[ScaledObject, bool], None] = lambda _scaled_object, _news: None
        self.on_noted: Callable[[ScaledObject], None] = lambda _scaled_object: None
        self.on_spare: Callable[[ScaledObject], None] = lambda _scaled_object: None

    def answer_nowait(self, scaled_object: ScaledObject) -> Answer | None:
        """Return what to tell KEDA about `scaled_object` now, or None if a place has to be read first.

        Raises `LimitError` if the store has no room for its places, and the `Fault` of a place without a usable
        reading, unless the last answer is held.
        """
        answer = scaled_object.answer
        if (
            answer is not None
            and self._clock.now() < answer.valid_until
            and scaled_object.lease.has_newest(answer.readings)
        ):
            return answer
        return None if scaled_object.trigger.refresh_seconds == 0 else self._answer(scaled_object)

    async def answer(self, scaled_object: ScaledObject, timeout_seconds: float) -> Answer:
        """Return what to tell KEDA about `scaled_object`, waiting at most `timeout_seconds` for places to be read.

        Raises what `answer_nowait` raises, and `Unavailable` for a place that was not read in time.
        """
        if (answer := self.answer_nowait(scaled_object)) is not None:
            return answer
        began = self._clock.now()
        begun_at = began if scaled_object.trigger.refresh_seconds == 0 else None
        end, lease = began + timeout_seconds, None
        self._lease(scaled_object)
        # Again if the readings have named further places, which makes another lease.
        while lease is not scaled_object.lease:
            lease = scaled_object.lease
            missing = self._missing(scaled_object, begun_at=begun_at)
            await self._snapshots.wait(missing, end - self._clock.now(), anew=begun_at is not None)
            # After the wait a reading is used even if it is older than `refreshSeconds`, as long as it is not stale: a
            # backend may need longer than that to answer.
            if (answer := self._answer(scaled_object, waited=True, begun_at=begun_at)) is not None:
                return answer
        return self._failed(scaled_object, self._late(scaled_object, begun_at=begun_at))

    def known(self, scaled_object: ScaledObject) -> Answer | None:
        """Return the answer for a stream from what the store knows, without waiting; None if there is none.

        Where there was an answer before and is none now, an error is noted, so that the next answer counts as a change
        and wakes the stream.
        """
        try:
            answer = self._answer(scaled_object, waited=True)
            if answer is None and scaled_object.answer is not None:
                return self._failed(scaled_object, self._late(scaled_object))
        except ScalerError:
            return None
        return answer

    # GetMetrics and the IsActive that follows it

    def note_poll(self, scaled_object: ScaledObject, outcome: Answer | ScalerError) -> None:
        """Remember what GetMetrics returned, or the error that it raised."""
        scaled_object.poll = Poll(self._clock.now(), outcome)

    def polled(self, scaled_object: ScaledObject) -> Answer | None:
        """Return what GetMetrics returned a moment ago, None if it was not called; raises the error that it raised."""
        poll = scaled_object.poll
        if poll is None or self._clock.now() - poll.at > SAME_POLL_SECONDS:
            return None
        if isinstance(poll.outcome, ScalerError):
            raise poll.outcome.untraced()
        return poll.outcome

    # The rule

    def _answer(
        self, scaled_object: ScaledObject, *, waited: bool = False, begun_at: float | None = None
    ) -> Answer | None:
        self._lease(scaled_object)
        try:
            readings = self._readings(scaled_object, waited=waited, begun_at=begun_at)
            return None if readings is None else self._judge(scaled_object, readings)
        except Fault as fault:
            return self._failed(scaled_object, fault)
        except ScalerError as error:
            self._note_error(scaled_object, error)
            raise
        except Exception:
            if self._once(scaled_object.key, scaled_object.namespace):
                log.exception("cannot judge", namespace=scaled_object.namespace, scaledobject=scaled_object.name)
            return self._failed(scaled_object, Defect("internal error of the scaler; its log says more"))

    def _lease(self, scaled_object: ScaledObject) -> None:
        try:
            self._leases.keep(scaled_object)
        except ScalerError as error:
            self._note_error(scaled_object, error)
            raise

    def _reading(
        self, scaled_object: ScaledObject, state: PlaceState, *, waited: bool, begun_at: float | None
    ) -> Reading | None:
        """Return the reading of one place if it may be used, or None if the place has to be read; raises its `Fault`.

        `waited` lets a reading be older than `refreshSeconds`; with `begun_at` its read must have begun at that time or
        later.
        """
        trigger, now = scaled_object.trigger, self._clock.now()
        if begun_at is not None:
            return self._snapshots.current(state, begun_at, begun_at)
        stale_at = now - trigger.stale_seconds - state.place.min_refresh_seconds
        wanted_at = stale_at if waited else max(stale_at, now - state.fresh_seconds(trigger.refresh_seconds))
        return self._snapshots.current(state, wanted_at, stale_at)

    def _missing(
        self, scaled_object: ScaledObject, *, waited: bool = False, begun_at: float | None = None
    ) -> list[PlaceState]:
        """Return the places that have neither a usable reading nor a fault."""
        missing = []
        for state in scaled_object.lease.states:
            with suppress(Fault):
                if self._reading(scaled_object, state, waited=waited, begun_at=begun_at) is None:
                    missing.append(state)
        return missing

    def _late(self, scaled_object: ScaledObject, *, begun_at: float | None = None) -> Fault:
        """Return a fault that says why a place without one was not read in time."""
        return self._snapshots.unanswered(self._missing(scaled_object, waited=True, begun_at=begun_at)[0])

    def _readings(
        self, scaled_object: ScaledObject, *, waited: bool, begun_at: float | None
    ) -> tuple[Reading, ...] | None:
        """Return the readings of all places, further places included; None if one has to be read first."""
        readings: list[Reading] = []
        named = len(scaled_object.question.places)
        for number, state in enumerate(scaled_object.lease.states):
            if number == named and self._names_others(scaled_object, tuple(readings)):
                return self._readings(scaled_object, waited=waited, begun_at=begun_at)
            reading = self._reading(scaled_object, state, waited=waited, begun_at=begun_at)
            if reading is None:
                return None
            readings.append(reading)
        if len(readings) == named and self._names_others(scaled_object, tuple(readings)):
            return self._readings(scaled_object, waited=waited, begun_at=begun_at)
        return tuple(readings)

    def _names_others(self, scaled_object: ScaledObject, readings: tuple[Reading, ...]) -> bool:
        """Tell whether the readings of the metadata's places name other further places than before, and lease those."""
        answer, lease = scaled_object.answer, scaled_object.lease
        if (
            not scaled_object.question.has_further_places
            or (
                answer is not None
                and len(answer.readings) == len(lease.states)  # else the store had no room for all places again
                and same_values(answer.readings[: len(readings)], readings)
            )
        ):
            return False
        values = (reading.value for reading in readings)
        further = scaled_object.trigger.further_places(dict(zip(scaled_object.question.places, values, strict=True)))
        if further == lease.further_places:
            return False
        self._leases.renew(scaled_object, further)
        return True

    def _judge(self, scaled_object: ScaledObject, readings: tuple[Reading, ...]) -> Answer:
        """Assess the readings if a value has changed or `Assessment.until` has passed, settle, and note the answer."""
        before, trigger, now, wall = scaled_object.answer, scaled_object.trigger, self._clock.now(), self._clock.wall()
        raw = None if before is None or not same_values(before.readings, readings) else before.raw
        places = scaled_object.places
        if raw is None or wall >= raw.until:
            values = {place: reading.value for place, reading in zip(places, readings, strict=True)}
            raw = trigger.assess(values, wall)
        seen, told_before = evidence(places, readings, now), scaled_object.settling.told
        scaled_object.settling, told = settle(scaled_object.settling, raw, seen, scaled_object.question.rule)
        if told_before is None or told_before.active != told.active:  # errors in between make no difference
            scaled_object.active_since = now
        if scaled_object.settling.is_settling:  # not valid for any time, so judged at each call
            return self._note(scaled_object, Answer(readings, raw, told, "settling"))
        valid_until = min(now + LONGEST_VALID_SECONDS, now + raw.until - wall, scaled_object.lease.renew_at)
        for state, reading in zip(scaled_object.lease.states, readings, strict=True):
            stale_seconds = trigger.stale_seconds + state.place.min_refresh_seconds
            valid_until = min(
                valid_until, reading.at + min(state.fresh_seconds(trigger.refresh_seconds), stale_seconds)
            )
        if trigger.refresh_seconds == 0:  # each call reads by itself
            valid_until = -math.inf
        return self._note(
            scaled_object, Answer(readings, raw, told, "active" if told.active else "inactive", valid_until, raw.until)
        )

    def _failed(self, scaled_object: ScaledObject, fault: Fault) -> Answer:
        """Return the last answer if it may be held; otherwise note `fault` as the error for KEDA, and raise it."""
        trigger, now = scaled_object.trigger, self._clock.now()
        held = None
        if trigger.refresh_seconds > 0:  # 0 is for callers who want no old value at all
            held = hold(scaled_object.settling, scaled_object.specs, now, scaled_object.question.rule, str(fault))
        if held is None:
            self._note_error(scaled_object, fault)
            raise fault
        if self._once(("held", scaled_object.key), scaled_object.namespace):
            about = {"namespace": scaled_object.namespace, "scaledobject": scaled_object.name}
            log.warning("the last answer is held", why=str(fault), hold_seconds=trigger.hold_seconds, **about)
        return self._note(scaled_object, Answer((), None, held, "held", fault=fault.untraced()))

    def _note(self, scaled_object: ScaledObject, answer: Answer) -> Answer:
        """Make `answer` that of `scaled_object`, and call the callbacks."""
        before = scaled_object.answer
        if before is not None and before.told.metrics == answer.told.metrics:
            answer = replace(answer, wire=before.wire)  # the messages are the same
        news = before is None or before.told.active != answer.told.active
        scaled_object.answer, scaled_object.error = answer, None
        self.on_noted(scaled_object)
        self.on_answer(scaled_object, news)
        if scaled_object.question.spares:
            self.on_spare(scaled_object)
        return answer

    def _note_error(self, scaled_object: ScaledObject, error: ScalerError) -> None:
        now = self._clock.now()
        scaled_object.settling = note_error(scaled_object.settling, now)
        scaled_object.answer, scaled_object.error = None, ToldError(error.untraced(), now)
        self.on_noted(scaled_object)
