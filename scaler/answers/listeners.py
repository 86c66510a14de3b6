"""Wakes open streams when their trigger turns active or inactive, so that they need not poll."""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from scaler.answers.answer import Answers
from scaler.answers.leases import Leases
from scaler.answers.scaledobject import NOBODY, ScaledObject
from scaler.core.clock import Clock
from scaler.core.domain import Place
from scaler.core.errors import LimitError
from scaler.store.snapshots import Snapshots

SHORTEST_TIMER_SECONDS = 0.1
"""A timer waits at least this long, so that jobs that fall due one after another share a judgement."""


class Listeners:
    """Judges a trigger with open streams again when one of its places was read, or when the time alone changes it.

    `on_streams` is called with a ScaledObject when a stream of it has opened or ended.
    """

    def __init__(self, snapshots: Snapshots, leases: Leases, answers: Answers, clock: Clock) -> None:
        """Follow the reads of `snapshots`, and judge with `answers`."""
        self._leases, self._answers, self._clock = leases, answers, clock
        self._listening: dict[Place, dict[ScaledObject, None]] = {}
        snapshots.follow(self._on_report)
        answers.on_answer, leases.on_places = self._on_answer, self._on_places
        self.on_streams: Callable[[ScaledObject], None] = lambda _scaled_object: None

    def __len__(self) -> int:
        """Return how many places are listened to."""
        return len(self._listening)

    def listening(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> "Listening":
        """Return a `with` block that calls `listener` when `scaled_object` turns active or inactive."""
        return Listening(self, scaled_object, listener)

    def says_active(self, scaled_object: ScaledObject) -> bool:
        """Tell whether a stream may send `true` now; if not, its listener is called when it may."""
        answer = self._answers.known(scaled_object)
        return answer is not None and answer.told.active

    def listen(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin the block of `listening`; raises `LimitError`."""
        if isinstance(scaled_object.listeners, frozenset):
            scaled_object.listeners = set()
        scaled_object.listeners.add(listener)
        self.on_streams(scaled_object)
        self._leases.renew(scaled_object, scaled_object.lease.further_places)

    def unlisten(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """End the block of `listening`."""
        if isinstance(scaled_object.listeners, set):
            scaled_object.listeners.discard(listener)
            self.on_streams(scaled_object)
        if scaled_object.listeners:
            return
        scaled_object.listeners = NOBODY
        for place in scaled_object.places:
            self._unfollow(scaled_object, place)
        self._set_timer(scaled_object)
        with suppress(LimitError):  # the leases end then, and the next call renews them
            self._leases.renew(scaled_object, scaled_object.lease.further_places)

    def _unfollow(self, scaled_object: ScaledObject, place: Place) -> None:
        """Stop judging `scaled_object` when `place` was read."""
        if listening := self._listening.get(place):
            listening.pop(scaled_object, None)
            if not listening:
                del self._listening[place]

    def _on_places(self, scaled_object: ScaledObject, before: tuple[Place, ...]) -> None:
        """Follow the places that `scaled_object` has now instead of those of `before`."""
        if not scaled_object.listeners:
            return
        for place in before:
            self._unfollow(scaled_object, place)
        for place in scaled_object.places:
            self._listening.setdefault(place, {})[scaled_object] = None

    def _on_report(self, place: Place, changed: bool) -> None:  # noqa: FBT001 - a callback of the store
        """Judge the triggers that follow `place` again, if its reading can make a difference."""
        if listening := self._listening.get(place):
            wall = self._clock.wall()
            for scaled_object in list(listening):
                if changed or scaled_object.answer is None or wall >= scaled_object.answer.rejudge_at:
                    self._answers.known(scaled_object)

    def _on_answer(self, scaled_object: ScaledObject, news: bool) -> None:  # noqa: FBT001 - a callback of the answers
        """If the activity has changed, wake the streams and renew the leases, whose interval depends on it."""
        if not scaled_object.listeners:
            return
        if news:
            self._leases.renew(scaled_object, scaled_object.lease.further_places)
            for listener in list(scaled_object.listeners):
                listener()
        self._set_timer(scaled_object)

    def _set_timer(self, scaled_object: ScaledObject) -> None:
        """Judge again when the time alone will change the assessment: a scheduled job falls due."""
        if scaled_object.timer is not None:
            scaled_object.timer.cancel()
            scaled_object.timer = None
        raw = None if scaled_object.answer is None else scaled_object.answer.raw
        if raw is None or not scaled_object.listeners or raw.until == math.inf:
            return
        delay = raw.until - self._clock.wall()
        if delay > 0:  # a value that ages all the time (a latency) is judged at every reading instead
            when = self._clock.now() + max(delay, SHORTEST_TIMER_SECONDS)
            scaled_object.timer = self._clock.call_at(when, partial(self._answers.known, scaled_object))


class Listening:
    """The `with` block of `Listeners.listening`; with `contextlib` it would take 400 bytes more for each stream."""

    __slots__ = ("_listener", "_listeners", "_scaled_object")

    def __init__(self, listeners: Listeners, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """Do nothing until the block begins."""
        self._listeners, self._scaled_object, self._listener = listeners, scaled_object, listener

    def __enter__(self) -> None:
        """Listen; raises `LimitError`."""
        try:
            self._listeners.listen(self._scaled_object, self._listener)
        except BaseException:
            self._listeners.unlisten(self._scaled_object, self._listener)
            raise

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._listeners.unlisten(self._scaled_object, self._listener)
