"""Those who are told of changes instead of asking: streams, woken when a trigger turns active or inactive."""

import math
from collections.abc import Callable
from contextlib import suppress

from scaler.answers.answer import Answers
from scaler.answers.leases import Leases
from scaler.answers.scaledobject import NOBODY, ScaledObject
from scaler.core.clock import Clock
from scaler.core.domain import Place
from scaler.core.errors import LimitError
from scaler.store.snapshots import Snapshots

SHORTEST_TIMER_SECONDS = 0.1


class Listeners:
    """Judges a trigger again when a place that it stands on was read or time has changed something, while one listens.

    `on_streams` is called with an asker whose listeners have become more or fewer.
    """

    def __init__(self, snapshots: Snapshots, leases: Leases, answers: Answers, clock: Clock) -> None:
        """Hear of reads from `snapshots`, and judge with `answers`."""
        self._leases, self._answers, self._clock = leases, answers, clock
        self._listening: dict[Place, dict[ScaledObject, None]] = {}
        snapshots.follow(self._on_report)
        answers.on_answer, answers.on_places = self._on_answer, self._on_places
        self.on_streams: Callable[[ScaledObject], None] = lambda _scaled_object: None

    def listening(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> "Listening":
        """Call `listener` whenever `scaled_object` turns active or inactive, and keep its places fresh, while a block lasts."""
        return Listening(self, scaled_object, listener)

    def says_active(self, scaled_object: ScaledObject) -> bool:
        """Tell whether a stream may say `true` now, by what is known or held; if not, it is woken when it may."""
        answer = self._answers.known(scaled_object)
        return answer is not None and answer.told.active

    def listen(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin what `listening` does; raises `LimitError`."""
        if isinstance(scaled_object.listeners, frozenset):
            scaled_object.listeners = set()
        scaled_object.listeners.add(listener)
        self.on_streams(scaled_object)
        self._on_places(scaled_object, ())
        self._leases.renew(scaled_object, scaled_object.lease.further_places)

    def unlisten(self, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """End what `listening` does."""
        if isinstance(scaled_object.listeners, set):
            scaled_object.listeners.discard(listener)
            self.on_streams(scaled_object)
        if scaled_object.listeners:
            return
        scaled_object.listeners = NOBODY
        for place in scaled_object.places:
            self._unfollow(scaled_object, place)
        self._set_timer(scaled_object)
        with suppress(LimitError):  # then there is nothing to hold on to
            self._leases.renew(scaled_object, scaled_object.lease.further_places)

    def _unfollow(self, scaled_object: ScaledObject, place: Place) -> None:
        """Tell `scaled_object` no more of `place`."""
        if listening := self._listening.get(place):
            listening.pop(scaled_object, None)
            if not listening:
                del self._listening[place]

    def _on_places(self, scaled_object: ScaledObject, before: tuple[Place, ...]) -> None:
        """Hear of the places of `scaled_object` as they are now, and no more of those of `before` that it has left."""
        if not scaled_object.listeners:
            return
        for place in set(before) - set(scaled_object.places):
            self._unfollow(scaled_object, place)
        for place in scaled_object.places:
            self._listening.setdefault(place, {})[scaled_object] = None

    def _on_report(self, place: Place, changed: bool) -> None:  # noqa: FBT001 - a callback of the store
        """Judge again for those who listen to `place`, if it can make a difference."""
        if listening := self._listening.get(place):
            wall = self._clock.wall()
            for scaled_object in list(listening):
                if changed or scaled_object.answer is None or wall >= scaled_object.answer.rejudge_at:
                    self._answers.known(scaled_object)

    def _on_answer(self, scaled_object: ScaledObject, news: bool) -> None:  # noqa: FBT001 - a callback of the answers
        """Wake those who listen to `scaled_object`, and read at the other speed, where its activity has changed."""
        if not scaled_object.listeners:
            return
        if news:
            with suppress(LimitError):  # then the places are read at the speed of before
                self._leases.renew(scaled_object, scaled_object.lease.further_places)
            for listener in list(scaled_object.listeners):
                listener()
        self._set_timer(scaled_object)

    def _set_timer(self, scaled_object: ScaledObject) -> None:
        """Judge again when the time alone will change something: a job falls due."""
        if scaled_object.timer is not None:
            scaled_object.timer.cancel()
            scaled_object.timer = None
        raw = None if scaled_object.answer is None else scaled_object.answer.raw
        if raw is None or not scaled_object.listeners or raw.until == math.inf:
            return
        delay = raw.until - self._clock.wall()
        if delay > 0:  # what ages all the time is judged with every reading
            when = self._clock.now() + max(delay, SHORTEST_TIMER_SECONDS)
            scaled_object.timer = self._clock.call_at(when, lambda: self._on_time(scaled_object))

    def _on_time(self, scaled_object: ScaledObject) -> None:
        scaled_object.timer = None
        self._answers.known(scaled_object)


class Listening:
    """A block during which somebody listens; a generator's would take 400 bytes more for each stream."""

    __slots__ = ("_listener", "_listeners", "_scaled_object")

    def __init__(self, listeners: Listeners, scaled_object: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin with the block."""
        self._listeners, self._scaled_object, self._listener = listeners, scaled_object, listener

    def __enter__(self) -> None:
        """Listen; raises `LimitError`."""
        try:
            self._listeners.listen(self._scaled_object, self._listener)
        except BaseException:
            self._listeners.unlisten(self._scaled_object, self._listener)
            raise

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._listeners.unlisten(self._scaled_object, self._listener)
