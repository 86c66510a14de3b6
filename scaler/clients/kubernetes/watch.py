"""One query kept true: listed once, then followed by a watch for as long as someone uses it."""

import asyncio
import functools
import itertools
import logging
import math
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.faults import BusyError, DeniedError, ExpiredError, GarbledError
from scaler.clients.kubernetes.json_stream import BadAnswerError, Event, JsonObject
from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.clock import Clock, Timer, deadline, sleep
from scaler.core.errors import Fault, Refused, Unavailable

FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 8.0  # an API server that is back is found again within the readings' refresh interval
LIMIT_PAUSE_SECONDS = 60.0  # a list that is too long costs the API server each time
TELL_SECONDS = 0.1  # at most one hint for a place in this time, however fast its objects change
CONFIRM_SECONDS = 0.25  # for what was missed to arrive on a watch that is opened again
PROOF_SECONDS = 1.0  # a watch that ends sooner and silently counts as failed, lest it be opened in a circle

_contents = itertools.count(1)
_log = logging.getLogger(__name__)


class TooManyObjectsError(Refused):
    """All places together hold more objects than the configuration lets them."""


@dataclass(slots=True)
class Shares:
    """What the watches of one client have together: how many lists may run at once, and how many objects be kept."""

    listing: asyncio.Semaphore
    max_objects: int
    objects: int = 0


class Watch:
    """The objects of one place; starts at once, in the running loop, and ends with `close`."""

    def __init__(
        self,
        place: Objects,
        connect: Callable[[], Api],
        settings: KubernetesSettings,
        clock: Clock,
        shares: Shares,
    ) -> None:
        """Ask the API of `connect`, within what is left of `shares`."""
        self.users: dict[Hashable, Callable[[], None] | None] = {}
        self._place = place
        self._connect = connect
        self._settings = settings
        self._clock = clock
        self._shares = shares
        self._objects: dict[str, Any] = {}
        self._broken: dict[str, str] = {}
        self._version = ""  # the resource version that the objects are at; empty: to be listed
        self._more = ""  # where a list that was broken off goes on
        self._content: ObjectList | None = None
        self._fault: Fault | None = None
        self._known = asyncio.Event()  # set: the objects are true now, or `_fault` says why not
        self._failures = 0
        self._opened_at = math.inf
        self._confirming: Timer | None = None
        self._hold: Timer | None = None
        self._untold = False
        self.task = asyncio.create_task(self._run())

    async def objects(self, timeout_seconds: float) -> ObjectList:
        """Return the present objects, waiting for a list or a watch that is on its way; raises `Fault`."""
        try:
            with deadline(self._clock, timeout_seconds):
                await self._known.wait()
        except TimeoutError:
            doing = "the watch is being opened again" if self._version else "the list is still running"
            raise Unavailable(f"{self._place}: {doing}, {len(self._objects)} objects so far") from None
        if self._fault is None:
            await self._connect().check()
        if self._fault is not None:
            raise self._fault.with_traceback(None)  # the same fault for all who ask, without a growing traceback
        if self._broken:
            key, why = next(iter(self._broken.items()))
            raise Unavailable(f"{self._place}: {key} cannot be understood ({why})")
        if self._content is None:
            self._content = ObjectList(tuple(self._objects.values()), next(_contents), 0)
        return ObjectList(self._content.objects, self._content.version, self._clock.wall())

    def close(self) -> None:
        """Stop, and tell those who still wait."""
        self.task.cancel()
        if self._hold is not None:
            self._hold.cancel()
        self._empty()
        self._fault = Unavailable(f"{self._place}: no longer watched")
        self._known.set()

    async def _run(self) -> None:
        while True:
            least = 0.0
            try:
                await self._list_and_follow()
            except Fault as fault:
                least = self._failed(fault)
            except Exception as error:  # noqa: BLE001 - whatever breaks the watch must not leave old objects standing
                _log.exception("watch of %s failed", self._place)
                self._version = self._more = ""
                least = self._failed(Unavailable(f"{self._place}: internal error ({type(error).__name__})"))
            if self._failures:
                pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10))
                pause *= random.uniform(0.5, 1)  # noqa: S311 - it spreads load and guards nothing
                await sleep(self._clock, max(least, pause))

    def _failed(self, fault: Fault) -> float:
        """Take note of `fault`; return the least pause in seconds before the next try."""
        self._failures += 1
        if isinstance(fault, Refused | ExpiredError | GarbledError) and not isinstance(fault, DeniedError):
            self._version = self._more = ""  # to be listed from the start
        if isinstance(fault, ExpiredError) and self._failures < 3:
            return 0.0  # to list again is the answer to it
        self._fault = fault
        self._known.set()
        if isinstance(fault, BusyError):
            return fault.pause_seconds
        return LIMIT_PAUSE_SECONDS if isinstance(fault, TooManyObjectsError) else 0.0

    async def _list_and_follow(self) -> None:
        api = self._connect()
        fresh = not self._version and not self._more
        if not self._version:
            async with self._shares.listing:
                await self._list(api)
        before, self._opened_at = self._version, math.inf
        try:
            await api.watch(
                self._place,
                before,
                self._settings.watch_silence_seconds,
                functools.partial(self._opened, fresh=fresh),
                self._handle,
            )
        finally:
            if self._confirming is not None:
                self._confirming.cancel()
            if self._fault is None:
                self._known.clear()  # until the next watch is open; missing a fault, that is at once
            proved = self._version != before or self._clock.now() - self._opened_at >= PROOF_SECONDS
            self._failures = 0 if proved else self._failures
        self._failures += 0 if proved else 1

    async def _list(self, api: Api) -> None:
        if not self._more:  # else a list goes on where a fault has broken it off
            self._empty()
        version, self._more = await api.page(self._place, self._more, self._keep)
        while self._more:
            version, self._more = await api.page(self._place, self._more, self._keep)
        self._version = version

    def _opened(self, *, fresh: bool) -> None:
        self._opened_at = self._clock.now()
        if fresh:
            self._confirm()
        else:  # what was missed, or that it is no longer known, arrives only now, and nothing marks its end
            self._confirming = self._clock.call_at(self._opened_at + CONFIRM_SECONDS, self._confirm)

    def _confirm(self) -> None:
        news = self._fault is not None or self._content is None
        self._fault = None
        self._known.set()
        if news:
            self._tell()

    def _handle(self, event: Event) -> None:
        version = _metadata(event.object).get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise BadAnswerError("an event without resourceVersion")
        if event.type == "DELETED":
            self._put(_key(event.object), None, None)
        elif event.type != "BOOKMARK":
            self._keep(event.object)
        self._version = version
        if self._content is None and self._known.is_set() and self._fault is None:
            self._tell()

    def _keep(self, found: JsonObject) -> None:
        key, why = _key(found), None
        try:
            value = self._place.project(found)
        except Exception as error:  # noqa: BLE001 - an object may hold anything; one that is skipped would count as none
            value, why = None, type(error).__name__
        self._put(key, value, why)

    def _put(self, key: str, value: Any, why: str | None) -> None:
        if self._objects.get(key) == value and self._broken.get(key) == why:
            return
        self._content = None
        before = len(self._objects) + len(self._broken)
        _set(self._objects, key, value)
        _set(self._broken, key, why)
        self._shares.objects += len(self._objects) + len(self._broken) - before
        if self._shares.objects > self._shares.max_objects:
            self._empty()
            limit = self._shares.max_objects
            raise TooManyObjectsError(f"{self._place}: no room: {limit} objects are the limit kubernetes.maxObjects")

    def _empty(self) -> None:
        self._shares.objects -= len(self._objects) + len(self._broken)
        self._objects.clear()
        self._broken.clear()
        self._content = None

    def _tell(self) -> None:
        """Tell every user at once, or as soon as the last time is long enough ago."""
        if self._hold is not None:
            self._untold = True
            return
        self._hold = self._clock.call_at(self._clock.now() + TELL_SECONDS, self._release)
        for changed in tuple(self.users.values()):
            if changed is not None:
                changed()

    def _release(self) -> None:
        self._hold = None
        if self._untold:
            self._untold = False
            self._tell()


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _metadata(found: JsonObject) -> JsonObject:
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        raise BadAnswerError("an object without metadata")
    return metadata


def _key(found: JsonObject) -> str:
    metadata = _metadata(found)
    if not metadata.get("name"):
        raise BadAnswerError("an object without a name")
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
