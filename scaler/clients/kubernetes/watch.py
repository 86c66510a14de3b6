"""Keeps the objects of one place up to date: lists them once, then watches them as long as there is a user."""

import asyncio
import functools
import logging
import math
import random
from collections.abc import Callable, Hashable

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.faults import BusyError, DeniedError, ExpiredError, GarbledError
from scaler.clients.kubernetes.json_stream import Event, WholeList
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.clients.kubernetes.kept import Kept, TooManyObjectsError, metadata_of
from scaler.clients.kubernetes.objects import Objects
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.kubernetes.shares import Shares
from scaler.core.clock import Clock, Timer, deadline, sleep
from scaler.core.domain import Found, Proof
from scaler.core.errors import Fault, Refused, Unavailable

FIRST_PAUSE_SECONDS = 0.25
LAST_PAUSE_SECONDS = 8.0  # longest pause, so that an API server that is back is noticed soon
LIMIT_PAUSE_SECONDS = 60.0  # after a list that is too long, as each try costs the API server
TELL_SECONDS = 0.1  # at most one hint for a place in this time
CONFIRM_SECONDS = 0.25  # after a watch was opened again, for missed events to arrive
SPOKEN_SECONDS = 120.0  # the objects are valid for so long after an event or bookmark; a bookmark comes every minute
PROOF_SECONDS = 1.0  # a watch that ends sooner and without an event counts as failed, to avoid opening it in a loop

_log = logging.getLogger(__name__)


class Watch:
    """The watch of one place; starts at once, in the running loop, and ends with `close`."""

    def __init__(
        self,
        place: Objects,
        connect: Callable[[], Api],
        settings: KubernetesSettings,
        clock: Clock,
        shares: Shares,
    ) -> None:
        """Use the API of `connect`, within the present tenant's part of `shares`; raises `Refused` if none is left."""
        self._one = shares.watches.held()
        try:
            self._one.resize(1)
        except Unavailable as full:
            raise Refused(f"{place}: no room to watch it: {full}") from None
        self.users: dict[Hashable, Callable[[], None] | None] = {}
        self._place = place
        self._connect = connect
        self._settings = settings
        self._clock = clock
        self._shares = shares
        self._kept = Kept(place, shares.objects)
        self._version = ""  # the resource version of the objects; empty: they must be listed
        self._pages = WholeList()  # of the current list, which may continue after a fault
        self._spoken_at = -math.inf  # when the list was complete, or the last event or bookmark came
        self._fault: Fault | None = None
        self._known = asyncio.Event()  # set: the objects are valid, or `_fault` says why not
        self._failures = 0
        self._opened_at = math.inf
        self._confirming: Timer | None = None
        self._hold: Timer | None = None
        self._untold = False
        self._closed = False
        self.task = self._start()

    async def found(self, timeout_seconds: float) -> Found:
        """Return the current objects and their proof, waiting for the list and the watch; raises `Fault`."""
        if self.task.done() and not self._closed:
            self.task = self._start()
        try:
            with deadline(self._clock, timeout_seconds):
                await self._wait()
        except TimeoutError:
            doing = "the watch is being opened again" if self._version else "the list is still running"
            raise Unavailable(f"{self._place}: {doing}, {len(self._kept)} objects so far") from None
        silent = self._clock.now() - self._spoken_at
        if silent > SPOKEN_SECONDS:
            raise Unavailable(f"{self._place}: the watch has sent nothing for {silent:.0f} s and is opened again")
        whole = f"a list to its last page, and its watch at version {self._version}, which spoke {silent:.0f} s before"
        return Found(self._kept.content(self._clock.wall()), Proof(whole, str(self._connect())))

    async def _wait(self) -> None:
        """Wait until the objects are valid and the API answers, and check that they are still valid then."""
        checked = False
        while True:
            await self._known.wait()
            if self._fault is not None:
                raise self._fault.with_traceback(None)  # one fault for all callers, so without a traceback that grows
            if checked:
                return
            await self._connect().check()
            checked = True

    def _start(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run())
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Make it a fault that the task has ended, unless it was cancelled; the next call starts it again."""
        if self._closed or task is not self.task:
            return
        why = "it was cancelled" if task.cancelled() else type(task.exception()).__name__
        _log.error("watch of %s ended: %s", self._place, why)
        self._restart()
        self._fault = Unavailable(f"{self._place}: the watch has ended ({why}) and is started anew")
        self._known.set()
        self._tell()

    def close(self) -> None:
        """Stop, with a fault for the callers that still wait."""
        self._closed = True
        self.task.cancel()
        if self._hold is not None:
            self._hold.cancel()
        self._kept.clear()
        self._one.resize(0)
        self._fault = Unavailable(f"{self._place}: no longer watched")
        self._known.set()

    async def _run(self) -> None:
        while True:
            least = 0.0
            try:
                await self._list_and_follow()
            except Fault as fault:
                least = self._failed(fault)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                least = self._failed(Unavailable(f"{self._place}: a part of the request was cancelled"))
            except Exception as error:  # noqa: BLE001 - no error may leave old objects valid
                _log.exception("watch of %s failed", self._place)
                self._restart()
                least = self._failed(Unavailable(f"{self._place}: internal error ({type(error).__name__})"))
            if self._failures:
                pause = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10))
                pause *= random.uniform(0.5, 1)  # noqa: S311 - only jitter
                await sleep(self._clock, max(least, pause))

    def _failed(self, fault: Fault) -> float:
        """Note `fault`; return the shortest pause, in seconds, before the next try."""
        self._failures += 1
        if isinstance(fault, Refused | ExpiredError | GarbledError) and not isinstance(fault, DeniedError):
            self._restart()
        if isinstance(fault, ExpiredError) and self._failures < 3:
            return 0.0  # it is solved by listing again
        self._fault = fault
        self._known.set()
        if isinstance(fault, BusyError):
            return fault.pause_seconds
        return LIMIT_PAUSE_SECONDS if isinstance(fault, TooManyObjectsError) else 0.0

    async def _list_and_follow(self) -> None:
        api = self._connect()
        fresh = not self._version and not self._pages.version
        if not self._version:
            await self._list(api)
        before, self._opened_at = self._version, math.inf
        try:
            await api.watch(
                self._place,
                before,
                self._silent_at,
                functools.partial(self._opened, fresh=fresh),
                self._handle,
            )
        finally:
            if self._confirming is not None:
                self._confirming.cancel()
            if self._fault is None:
                self._known.clear()  # until the next watch is open
            proved = self._version != before or self._clock.now() - self._opened_at >= PROOF_SECONDS
            self._failures = 0 if proved else self._failures
        self._failures += 0 if proved else 1
        if self._clock.now() >= self._spoken_at + SPOKEN_SECONDS:
            self._restart()  # the next watch may be silent as well, so the objects are listed again

    def _silent_at(self) -> float:
        heard_at = max(self._opened_at, self._spoken_at)
        return min(heard_at + self._settings.watch_silence_seconds, self._spoken_at + SPOKEN_SECONDS)

    def _restart(self) -> None:
        """Make the next try list from the start."""
        self._version, self._pages = "", WholeList()

    async def _list(self, api: Api) -> None:
        if not self._pages.version:  # else the list continues after a fault
            self._kept.clear()
        while not self._pages.complete:
            async with self._shares.lists.hold(1):  # of a long list, others wait for a page only
                await api.page(self._place, self._pages, self._kept.keep)
        self._version, self._pages = self._pages.version, WholeList()
        self._spoken_at = self._clock.now()

    def _opened(self, *, fresh: bool) -> None:
        self._opened_at = self._clock.now()
        if fresh:
            self._confirm()
        else:  # missed events, or that the version has expired, come only now, and nothing marks the last
            self._confirming = self._clock.call_at(self._opened_at + CONFIRM_SECONDS, self._confirm)

    def _confirm(self) -> None:
        news = self._fault is not None or self._kept.changed
        self._fault = None
        self._known.set()
        if news:
            self._tell()

    def _handle(self, event: Event) -> None:
        version = metadata_of(event.object).get("resourceVersion")
        if not isinstance(version, str) or not version:
            raise BadAnswerError("an event without resourceVersion")
        if event.type == "DELETED":
            self._kept.drop(event.object)
        elif event.type != "BOOKMARK":
            self._kept.keep(event.object)
        self._version, self._spoken_at = version, self._clock.now()
        if self._kept.changed and self._known.is_set() and self._fault is None:
            self._tell()

    def _tell(self) -> None:
        """Call the hints of all users, at most once in `TELL_SECONDS`."""
        if self._hold is not None:
            self._untold = True
            return
        self._hold = self._clock.call_at(self._clock.now() + TELL_SECONDS, self._release)
        for changed in filter(None, tuple(self.users.values())):
            try:
                changed()
            except Exception:  # noqa: BLE001 - a failing hint must neither end the watch nor skip the other users
                _log.exception("a user of %s could not be called about a change", self._place)

    def _release(self) -> None:
        self._hold = None
        if self._untold:
            self._untold = False
            self._tell()
