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
        self.on_streams: Callable[[ScaledObject], None] = lambda _asker: None

    def __len__(self) -> int:
        """Return how many places are listened to."""
        return len(self._listening)

    def listening(self, asker: ScaledObject, listener: Callable[[], None]) -> "Listening":
        """Call `listener` whenever `asker` turns active or inactive, and keep its places fresh, while a block lasts."""
        return Listening(self, asker, listener)

    def says_active(self, asker: ScaledObject) -> bool:
        """Tell whether a stream may say `true` now, by what is known or held; if not, it is woken when it may."""
        answer = self._answers.known(asker)
        return answer is not None and answer.told.active

    def listen(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin what `listening` does; raises `LimitError`."""
        if isinstance(asker.listeners, frozenset):
            asker.listeners = set()
        asker.listeners.add(listener)
        self.on_streams(asker)
        self._on_places(asker, ())
        self._leases.renew(asker, asker.lease.found)

    def unlisten(self, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """End what `listening` does."""
        if isinstance(asker.listeners, set):
            asker.listeners.discard(listener)
            self.on_streams(asker)
        if asker.listeners:
            return
        asker.listeners = NOBODY
        for place in asker.places:
            self._deaf(asker, place)
        self._set_timer(asker)
        with suppress(LimitError):  # then there is nothing to hold on to
            self._leases.renew(asker, asker.lease.found)

    def _deaf(self, asker: ScaledObject, place: Place) -> None:
        """Tell `asker` no more of `place`."""
        if listening := self._listening.get(place):
            listening.pop(asker, None)
            if not listening:
                del self._listening[place]

    def _on_places(self, asker: ScaledObject, before: tuple[Place, ...]) -> None:
        """Hear of the places of `asker` as they are now, and no more of those of `before` that it has left."""
        if not asker.listeners:
            return
        for place in set(before) - set(asker.places):
            self._deaf(asker, place)
        for place in asker.places:
            self._listening.setdefault(place, {})[asker] = None

    def _on_report(self, place: Place, changed: bool) -> None:  # noqa: FBT001 - a callback of the store
        """Judge again for those who listen to `place`, if it can make a difference."""
        if listening := self._listening.get(place):
            wall = self._clock.wall()
            for asker in list(listening):
                if changed or asker.answer is None or wall >= asker.answer.rejudge_at:
                    self._answers.known(asker)

    def _on_answer(self, asker: ScaledObject, news: bool) -> None:  # noqa: FBT001 - a callback of the answers
        """Wake those who listen to `asker`, and read at the other speed, where its activity has changed."""
        if not asker.listeners:
            return
        if news:
            with suppress(LimitError):  # then the places are read at the speed of before
                self._leases.renew(asker, asker.lease.found)
            for listener in list(asker.listeners):
                listener()
        self._set_timer(asker)

    def _set_timer(self, asker: ScaledObject) -> None:
        """Judge again when the time alone will change something: a job falls due."""
        if asker.timer is not None:
            asker.timer.cancel()
            asker.timer = None
        raw = None if asker.answer is None else asker.answer.raw
        if raw is None or not asker.listeners or raw.until == math.inf:
            return
        delay = raw.until - self._clock.wall()
        if delay > 0:  # what ages all the time is judged with every reading
            when = self._clock.now() + max(delay, SHORTEST_TIMER_SECONDS)
            asker.timer = self._clock.call_at(when, lambda: self._on_time(asker))

    def _on_time(self, asker: ScaledObject) -> None:
        asker.timer = None
        self._answers.known(asker)


class Listening:
    """A block during which somebody listens; a generator's would take 400 bytes more for each stream."""

    __slots__ = ("_asker", "_listener", "_listeners")

    def __init__(self, listeners: Listeners, asker: ScaledObject, listener: Callable[[], None]) -> None:
        """Begin with the block."""
        self._listeners, self._asker, self._listener = listeners, asker, listener

    def __enter__(self) -> None:
        """Listen; raises `LimitError`."""
        try:
            self._listeners.listen(self._asker, self._listener)
        except BaseException:
            self._listeners.unlisten(self._asker, self._listener)
            raise

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._listeners.unlisten(self._asker, self._listener)
