"""What everybody who asks is told: assessed once per reading, told consistently, and kept fresh while they listen."""

import math
from collections.abc import Callable
from contextlib import suppress

from scaler.answers.history import STEP_SECONDS
from scaler.answers.leases import Leases
from scaler.answers.registry import Askers
from scaler.answers.scaledobject import NOBODY, ScaledObject
from scaler.core.clock import Clock
from scaler.core.domain import Assessment, Place, Reading, same_values
from scaler.core.errors import LimitError, ScalerError
from scaler.core.logs import Once, get_logger
from scaler.core.quota import Quota
from scaler.sources.access import Access
from scaler.store.snapshots import Snapshots

log = get_logger()

SAME_SNAPSHOT_SECONDS = 2.0
"""KEDA asks IsActive right after GetMetrics; within this time both are answered from one assessment."""
SHORTEST_TIMER_SECONDS = 0.1


class ScaledObjects(Askers):
    """Assesses those who ask, and keeps the leases on their places."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        snapshots: Snapshots,
        access: Access,
        clock: Clock,
        *,
        max_scaled_objects: Quota,
        max_metadata_bytes: int = 65_536,
        max_metadata_total_bytes: int = 32 << 20,
        lease_seconds: float = 100.0,
        keep_seconds: float = 900.0,
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        """Read through `snapshots` what `access` lets namespaces read.

        A place is kept fresh for `lease_seconds` after it was asked for; what a ScaledObject was told is remembered
        for `keep_seconds`, so that a slow poller is told inactive only after it settled.
        """
        super().__init__(
            access,
            clock,
            max_scaled_objects=max_scaled_objects,
            max_metadata_bytes=max_metadata_bytes,
            max_metadata_total_bytes=max_metadata_total_bytes,
            keep_seconds=keep_seconds,
            grown=grown,
        )
        self._snapshots, self._leases = snapshots, Leases(snapshots, clock, lease_seconds)
        self._listening: dict[Place, dict[ScaledObject, None]] = {}
        self._once = Once(clock)
        snapshots.follow(self._on_report)

    # Assessing

    def assess_now(self, asker: ScaledObject) -> Assessment | None:
        """Return what `asker` is to be told now, or None if a reading has to be waited for; raises as `assess` does."""
        if self._clock.now() < asker.stands_until and asker.has_newest():
            return asker.assessment
        try:
            self._leases.keep(asker)
            return self._judge_known(asker, asker.trigger.refresh_seconds)
        except ScalerError as error:
            self._note_error(asker, error)
            raise

    async def assess(self, asker: ScaledObject, timeout_seconds: float) -> Assessment:
        """Return what `asker` is to be told now, waiting at most `timeout_seconds` for readings not known yet.

        Raises the `Fault` of a place that has no reading young enough, or `LimitError`.
        """
        if (told := self.assess_now(asker)) is not None:
            return told
        trigger, end = asker.trigger, self._clock.now() + timeout_seconds
        try:
            known = await self._snapshots.read(
                asker.places, trigger.refresh_seconds, trigger.stale_seconds, timeout_seconds
            )
            while asker.finds and not known.keys() >= {*self._find(asker, tuple([known[p] for p in asker.places]))}:
                known |= await self._snapshots.read(
                    asker.found, trigger.refresh_seconds, trigger.stale_seconds, end - self._clock.now()
                )
            return self._judge(asker, tuple([known[place] for place in (*asker.places, *asker.found)]))
        except ScalerError as error:
            self._note_error(asker, error)
            raise

    def answer_now(self, asker: ScaledObject) -> Assessment | None:
        """Assess for GetMetrics as `assess_now` does; the IsActive that follows is told the same."""
        asker.answered = None
        asker.answered = self.assess_now(asker)
        asker.answered_at = self._clock.now()
        return asker.answered

    async def answer(self, asker: ScaledObject, timeout_seconds: float) -> Assessment:
        """Assess for GetMetrics as `assess` does; the IsActive that follows is told the same."""
        asker.answered = None
        asker.answered = await self.assess(asker, timeout_seconds)
        asker.answered_at = self._clock.now()
        return asker.answered

    def answered(self, asker: ScaledObject) -> Assessment | None:
        """Return what GetMetrics was told a moment ago, for the IsActive that follows it."""
        lately = self._clock.now() - asker.answered_at <= SAME_SNAPSHOT_SECONDS
        return asker.answered if lately else None

    def _note_error(self, asker: ScaledObject, error: ScalerError) -> None:
        asker.error, asker.error_at = type(error)(*error.args), self._clock.now()  # without the frames of who raised it
        asker.renew_at = asker.stands_until = asker.calm_until = -math.inf  # what could not be leased is asked for anew

    def _judge(self, asker: ScaledObject, readings: tuple[Reading, ...]) -> Assessment:
        """Assess anew if a reading has changed or the time has come, and settle."""
        now = self._clock.now()
        if asker.raw is None or not same_values(asker.readings, readings) or self._clock.wall() >= asker.raw.until:
            places = (*asker.places, *asker.found)
            values = {place: reading.value for place, reading in zip(places, readings, strict=True)}
            # Should these readings make no sense, the judgement of older ones does not stand for them.
            asker.raw, asker.calm_until = None, -math.inf
            asker.raw = asker.trigger.assess(values, self._clock.wall())
        asker.readings = readings
        told = asker.settle(asker.raw, readings, now)
        news = told.active != asker.active or not asker.known
        if told.active != asker.active or asker.assessment is None:
            asker.active_since = now
        if told is not asker.assessment:
            asker.assessment, asker.prepared = told, None
        asker.error, asker.known = None, True
        asker.history.add(now, told.metrics[0].value)
        asker.stands_until = self._stands_until(asker, now)
        asker.calm_until = asker.raw.until if math.isnan(asker.inactive_seen) else -math.inf
        if asker.listeners:
            if news:
                self._leases.renew(asker)  # the other speed
                for listener in list(asker.listeners):
                    listener()
            self._set_timer(asker)
        return told

    def _stands_until(self, asker: ScaledObject, now: float) -> float:
        """Return until when the assessment is right, should no newer reading come."""
        if asker.raw is None or not math.isnan(asker.inactive_seen):
            return now
        until = min(asker.renew_at, now + STEP_SECONDS, now + asker.raw.until - self._clock.wall())
        refresh_seconds, stale_seconds = asker.trigger.refresh_seconds, asker.trigger.stale_seconds
        for entry, reading in zip(asker.held, asker.readings, strict=True):
            stale = stale_seconds + entry.place.min_refresh_seconds
            until = min(until, reading.at + min(entry.fresh_seconds(refresh_seconds), stale))
        return until

    # Places that readings name, and streams

    def rest(self) -> None:
        """Let those whose leases have ended hold on to nothing; to be called now and then."""
        before = self._clock.now() - self._leases.lasting_seconds
        for asker in self._known.values():
            if asker.asked_at >= before:
                break  # they are in the order of asking
            if asker.held and not asker.listeners:
                asker.rest()

    def _find(self, asker: ScaledObject, readings: tuple[Reading, ...]) -> tuple[Place, ...]:
        """Return what the first readings name, lease it as well, and let go of what they name no more."""
        if asker.raw is not None and same_values(asker.readings[: len(readings)], readings):
            return asker.found
        values = (reading.value for reading in readings)
        found = asker.trigger.found(dict(zip(asker.places, values, strict=True)))
        if found == asker.found:
            return found
        before, asker.found = asker.found, found
        asker.raw = None  # it stands on other places
        asker.stands_until = asker.calm_until = -math.inf
        for place in set(before) - {*asker.places, *found}:
            self._snapshots.release(asker, place)
            self._deaf(asker, place)
        if asker.listeners:
            for place in found:
                self._listening.setdefault(place, {})[asker] = None
        self._leases.renew(asker)
        return found

    def _deaf(self, asker: ScaledObject, place: Place) -> None:
        """Tell `asker` no more of `place`."""
        if listeners := self._listening.get(place):
            listeners.pop(asker, None)
            if not listeners:
                del self._listening[place]

    def listening(self, asker: ScaledObject, listener: Callable[[], None]) -> "Listening":
        """Call `listener` whenever `asker` turns active or inactive, and keep its places fresh, while a block lasts."""
        return Listening(self, asker, listener)

    def says_active(self, asker: ScaledObject) -> bool:
        """Tell whether a stream may say `true` now, by readings that are young enough; if not, it is woken when it may."""
        asker.known = self._judge_from_memory(asker)
        if not asker.known:
            asker.calm_until = -math.inf
        return asker.known and asker.active

    def listen(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin what `listening` does."""
        if isinstance(asker.listeners, frozenset):
            asker.listeners = set()
        asker.listeners.add(listener)
        for place in (*asker.places, *asker.found):
            self._listening.setdefault(place, {})[asker] = None
        self._leases.renew(asker)

    def unlisten(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """End what `listening` does."""
        if isinstance(asker.listeners, set):
            asker.listeners.discard(listener)
        if asker.listeners:
            return
        asker.listeners = NOBODY
        for place in (*asker.places, *asker.found):
            self._deaf(asker, place)
        self._set_timer(asker)
        with suppress(LimitError):  # then there is nothing to hold on to
            self._leases.renew(asker)

    def _on_report(self, place: Place, changed: bool) -> None:  # noqa: FBT001 - a callback of the store
        """Judge again for those who listen to `place`, if it can make a difference."""
        if listening := self._listening.get(place):
            wall = self._clock.wall()
            for asker in [each for each in listening if changed or wall >= each.calm_until]:
                self._judge_from_memory(asker)

    def _judge_from_memory(self, asker: ScaledObject) -> bool:
        """Judge from what the store knows; tell whether it knows enough. Where it does not, nothing is told."""
        try:
            # A stream has nobody waiting, so what a slow backend said last counts until it is stale.
            return self._judge_known(asker, asker.trigger.stale_seconds) is not None
        except ScalerError as error:
            self._note_error(asker, error)
        except Exception:
            # A defect of one source may not keep the store from telling the others.
            if self._once(asker.key):
                log.exception("cannot judge", namespace=asker.namespace, scaledobject=asker.name)
        return False

    def _judge_known(self, asker: ScaledObject, refresh_seconds: float) -> Assessment | None:
        """Judge by readings that the store has, no older than `refresh_seconds`; None if it lacks one."""
        readings = self._leases.readings(asker, asker.held[: len(asker.places)], refresh_seconds)
        if readings is not None and asker.finds and self._find(asker, readings):
            whole = len(asker.held) == len(asker.places) + len(asker.found)  # unless the store was full
            readings = self._leases.readings(asker, asker.held, refresh_seconds) if whole else None
        return None if readings is None else self._judge(asker, readings)

    def _set_timer(self, asker: ScaledObject) -> None:
        """Judge again when the time alone will change something: a job falls due."""
        if asker.timer is not None:
            asker.timer.cancel()
            asker.timer = None
        if asker.raw is None or not asker.listeners or asker.raw.until == math.inf:
            return
        delay = asker.raw.until - self._clock.wall()
        if delay > 0:  # what ages all the time is judged with every reading
            when = self._clock.now() + max(delay, SHORTEST_TIMER_SECONDS)
            asker.timer = self._clock.call_at(when, lambda: self._on_time(asker))

    def _on_time(self, asker: ScaledObject) -> None:
        asker.timer = None
        self._judge_from_memory(asker)


class Listening:
    """A block during which somebody listens; a generator's would take 400 bytes more for each stream."""

    __slots__ = ("_asker", "_listener", "_objects")

    def __init__(self, objects: ScaledObjects, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin with the block."""
        self._objects, self._asker, self._listener = objects, asker, listener

    def __enter__(self) -> None:
        """Listen; raises `LimitError`."""
        try:
            self._objects.listen(self._asker, self._listener)
        except BaseException:
            self._objects.unlisten(self._asker, self._listener)
            raise

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._objects.unlisten(self._asker, self._listener)
