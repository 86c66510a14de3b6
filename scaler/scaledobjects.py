"""Everybody who asks: each trigger of a ScaledObject parsed once, assessed once per reading, told consistently."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import structlog

from scaler.access import Access
from scaler.clock import Clock
from scaler.domain import Assessment, Place, Reading
from scaler.errors import LimitError, ScalerError
from scaler.observe.logs import Once
from scaler.pb import externalscaler_pb2 as pb
from scaler.quota import Quota
from scaler.scaledobject import Key, ScaledObject
from scaler.snapshots import Snapshots
from scaler.triggers import parse

log = structlog.get_logger()

SAME_SNAPSHOT_SECONDS = 2.0
"""KEDA asks IsActive right after GetMetrics; within this time both are answered from one assessment."""
SHORTEST_TIMER_SECONDS = 0.1


class ScaledObjects:
    """Finds, assesses and forgets ScaledObjects; keeps the leases on their places."""

    def __init__(  # noqa: PLR0913 - the parts it joins
        self,
        snapshots: Snapshots,
        access: Access,
        clock: Clock,
        *,
        max_scaled_objects: Quota,
        max_metadata_bytes: int = 65_536,
        max_metadata_total_bytes: int = 64 << 20,
        lease_seconds: float = 100.0,
        keep_seconds: float = 900.0,
    ) -> None:
        """Read through `snapshots` what `access` lets namespaces read.

        A place is kept fresh for `lease_seconds` after it was asked for; what a ScaledObject was told is remembered
        for `keep_seconds`, so that a slow poller is told inactive only after it settled.
        """
        self._snapshots, self._access, self._clock = snapshots, access, clock
        self._quota, self._max_metadata_bytes = max_scaled_objects, max_metadata_bytes
        self._bytes = Quota(max_metadata_total_bytes, "limits.maxMetadataTotalBytes")
        self._lease_seconds, self._keep_seconds = lease_seconds, keep_seconds
        self._known: OrderedDict[Key, ScaledObject] = OrderedDict()
        self._listening: dict[Place, dict[ScaledObject, None]] = {}
        self._once = Once(clock)
        snapshots.follow(self._on_report)

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._known)

    def __iter__(self) -> Iterator[ScaledObject]:
        """Return those that are remembered, the one that asked last at the end."""
        return iter(list(self._known.values()))

    # Finding

    def find(self, namespace: str, name: str, metadata: Mapping[str, str]) -> ScaledObject:
        """Return the ScaledObject that asks, as `find_ref` does."""
        return self.find_ref(pb.ScaledObjectRef(namespace=namespace, name=name, scalerMetadata=metadata))

    def find_ref(self, ref: pb.ScaledObjectRef) -> ScaledObject:
        """Return the ScaledObject that asks, noting that it did.

        Raises `MetadataError`, `NotAllowedError` or `LimitError`.
        """
        key = ref.SerializeToString(deterministic=True)  # a set of the metadata costs six times as much
        found = self._known.get(key)
        now = self._clock.now()
        if found is None:
            ref.DiscardUnknownFields()  # nobody may make one ScaledObject look like many
            key = ref.SerializeToString(deterministic=True)
            found = self._known.get(key) or self._admit(key, ref, now)
        found.asked_at = now
        found.calls += 1
        self._known.move_to_end(found.key)
        return found

    def _admit(self, key: Key, ref: pb.ScaledObjectRef, now: float) -> ScaledObject:
        namespace, name, metadata = ref.namespace, ref.name, ref.scalerMetadata
        size = sum(len(text.encode()) for text in (namespace, name, *metadata.keys(), *metadata.values()))
        if size > self._max_metadata_bytes:
            raise LimitError(
                f"name and metadata have {size} bytes; at most {self._max_metadata_bytes} are read "
                "(setting limits.maxMetadataBytes)"
            )
        trigger = parse(metadata, namespace)
        self._access.check(namespace, trigger.claims())
        self.forget_old()
        self._quota.take(namespace)
        try:
            self._bytes.take(namespace, len(key))
        except LimitError:
            self._quota.give_back(namespace)
            raise
        admitted = self._known[key] = ScaledObject(key, namespace, name, trigger, now)
        return admitted

    def forget_old(self) -> None:
        """Forget who has not asked for a long time and listens to nothing."""
        now = self._clock.now()
        while self._known:
            key, found = next(iter(self._known.items()))
            if found.asked_at >= now - self._keep_seconds:
                break  # they are in the order of asking
            if found.listeners:
                self._known.move_to_end(key)
                found.asked_at = now  # a stream asks all the time
            else:
                del self._known[key]
                self._quota.give_back(found.namespace)
                self._bytes.give_back(found.namespace, len(key))

    # Assessing

    async def assess(self, asker: ScaledObject, timeout_seconds: float) -> Assessment:
        """Return what `asker` is to be told now, waiting at most `timeout_seconds` for readings not known yet.

        Raises the `Fault` of a place that has no reading young enough, or `LimitError`.
        """
        trigger, end = asker.trigger, self._clock.now() + timeout_seconds
        try:
            self._lease(asker)
            readings = await self._snapshots.read(
                asker.places, trigger.refresh_seconds, trigger.stale_seconds, timeout_seconds
            )
            found = self._found(asker, readings)
            if found:
                readings |= await self._snapshots.read(
                    found, trigger.refresh_seconds, trigger.stale_seconds, end - self._clock.now()
                )
            return self._judge(asker, readings)
        except ScalerError as error:
            self._note_error(asker, error)
            raise

    async def answer(self, asker: ScaledObject, timeout_seconds: float) -> Assessment:
        """Assess for GetMetrics; the IsActive that follows is told the same."""
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
        asker.renew_at = -math.inf  # whatever could not be leased is asked for anew

    def _judge(self, asker: ScaledObject, readings: dict[Place, Reading]) -> Assessment:
        """Assess anew if a reading has changed or the time has come, and settle."""
        now = self._clock.now()
        if asker.raw is None or not same_values(asker.readings, readings) or self._clock.wall() >= asker.raw.until:
            values = {place: reading.value for place, reading in readings.items()}
            asker.raw = None  # should these readings make no sense, the judgement of older ones does not stand for them
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
        if asker.listeners:
            if news:
                self._lease(asker, renew=True)  # the other speed
                for listener in list(asker.listeners):
                    listener()
            self._set_timer(asker)
        return told

    # Leases and streams

    def _lease(self, asker: ScaledObject, *, renew: bool = False) -> None:
        """Ask the store to keep the places of `asker` fresh: fast while it listens and sleeps."""
        now = self._clock.now()
        if now < asker.renew_at and not renew:
            return
        for place in (*asker.places, *asker.found):
            self._lease_one(asker, place)
        asker.renew_at = math.inf if asker.listeners else now + 0.1 * self._lease_seconds

    def _lease_one(self, asker: ScaledObject, place: Place) -> None:
        trigger = asker.trigger
        asleep = bool(asker.listeners) and asker.assessment is not None and not asker.assessment.active
        interval = min(trigger.idle_refresh_seconds, trigger.refresh_seconds) if asleep else trigger.refresh_seconds
        until = math.inf if asker.listeners else self._clock.now() + 1.1 * self._lease_seconds
        self._snapshots.lease(asker, place, interval, until, asker.namespace)

    def _found(self, asker: ScaledObject, readings: Mapping[Place, Reading]) -> tuple[Place, ...]:
        """Return what the first readings name, lease it as well, and let go of what they name no more."""
        if not asker.finds:
            return ()
        found = asker.trigger.found({place: reading.value for place, reading in readings.items()})
        if found == asker.found:
            return found
        before, asker.found = asker.found, found
        for place in set(before) - {*asker.places, *found}:
            self._snapshots.release(asker, place)
            self._deaf(asker, place)
        for place in found:
            if place not in before:
                if asker.listeners:
                    self._listening.setdefault(place, {})[asker] = None
                self._lease_one(asker, place)
        return found

    def _deaf(self, asker: ScaledObject, place: Place) -> None:
        """Tell `asker` no more of `place`."""
        if listeners := self._listening.get(place):
            listeners.pop(asker, None)
            if not listeners:
                del self._listening[place]

    @contextmanager
    def listening(self, asker: ScaledObject, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` whenever `asker` turns active or inactive, and keep its places fresh, while the block lasts."""
        try:
            self._listen(asker, listener)
            yield
        finally:
            self._unlisten(asker, listener)

    def says_active(self, asker: ScaledObject) -> bool:
        """Tell whether a stream may say `true` now, by readings that are young enough; if not, it is woken when it may."""
        asker.known = self._judge_from_memory(asker)
        return asker.known and asker.active

    def _listen(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        asker.listeners.add(listener)
        for place in (*asker.places, *asker.found):
            self._listening.setdefault(place, {})[asker] = None
        self._lease(asker, renew=True)

    def _unlisten(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        asker.listeners.discard(listener)
        if asker.listeners:
            return
        for place in (*asker.places, *asker.found):
            self._deaf(asker, place)
        self._set_timer(asker)
        with suppress(LimitError):  # then there is nothing to hold on to
            self._lease(asker, renew=True)

    def _on_report(self, place: Place, changed: bool) -> None:  # noqa: FBT001 - a callback of the store
        """Judge again for those who listen to `place`, if it can make a difference."""
        for asker in list(self._listening.get(place, ())):
            unsettled = not math.isnan(asker.inactive_seen)
            due = asker.raw is None or self._clock.wall() >= asker.raw.until
            if changed or unsettled or due or not asker.known:
                self._judge_from_memory(asker)

    def _judge_from_memory(self, asker: ScaledObject) -> bool:
        """Judge from what the store knows; tell whether it knows enough. Where it does not, nothing is told."""
        try:
            readings = self._from_memory(asker, asker.places)
            if readings is None:
                return False
            more = self._from_memory(asker, self._found(asker, readings))
            if more is None:
                return False
            self._judge(asker, readings | more)
        except ScalerError as error:
            self._note_error(asker, error)
            return False
        except Exception:
            # A defect of one source may not keep the store from telling the others.
            if self._once(asker.key):
                log.exception("cannot judge", namespace=asker.namespace, scaledobject=asker.name)
            return False
        return True

    def _from_memory(self, asker: ScaledObject, places: tuple[Place, ...]) -> dict[Place, Reading] | None:
        readings, stale_seconds = {}, asker.trigger.stale_seconds
        for place in places:
            # A stream has nobody waiting, so what a slow backend said last counts until it is stale.
            reading = self._snapshots.newest(place, stale_seconds, stale_seconds)
            if reading is None:
                return None
            readings[place] = reading
        return readings

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


def same_values(before: Mapping[Place, Reading], after: Mapping[Place, Reading]) -> bool:
    """Tell whether two sets of readings, in one order, have the same values; the store keeps equal values as one."""
    return len(before) == len(after) and all(
        old.value is new.value and (was is place or was == place)
        for (was, old), (place, new) in zip(before.items(), after.items(), strict=True)
    )
