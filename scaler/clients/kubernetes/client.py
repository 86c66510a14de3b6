"""The client of the Kubernetes API, shared by all its users."""

import asyncio
import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.config import find_cluster
from scaler.clients.kubernetes.faults import NotFoundError
from scaler.clients.kubernetes.objects import ObjectList, Objects, Resource
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.kubernetes.shares import Shares
from scaler.clients.kubernetes.watch import Watch
from scaler.core.clock import Clock, SystemClock, deadline
from scaler.core.domain import CountRequests, Found, uncounted
from scaler.core.errors import Refused, SettingsError, Unavailable


class Kubernetes:
    """Lists and watches objects, with one watch for each place; connects at first use, in the running loop.

    The address of the API server comes from the operator and not from a trigger, so the address guard is not needed.
    """

    def __init__(
        self,
        settings: KubernetesSettings | None = None,
        *,
        clock: Clock | None = None,
        count_requests: CountRequests = uncounted,
    ) -> None:
        """Use `settings`, or what the machine offers; `count_requests` is called for each request."""
        self._settings = settings or KubernetesSettings()
        self._clock = clock or SystemClock()
        self._count_requests = count_requests
        self._shares = Shares(self._settings)
        self._api: Api | None = None
        self._watches: dict[Objects, Watch] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def objects(
        self,
        place: Objects,
        *,
        user: Hashable = None,
        changed: Callable[[], None] | None = None,
        timeout_seconds: float = 4.5,
    ) -> ObjectList:
        """Return the current objects of `place` as `found` does, without their proof."""
        found = await self.found(place, user=user, changed=changed, timeout_seconds=timeout_seconds)
        return found.value  # type: ignore[no-any-return]  # `Found.value` is Any

    async def found(
        self,
        place: Objects,
        *,
        user: Hashable = None,
        changed: Callable[[], None] | None = None,
        timeout_seconds: float = 4.5,
    ) -> Found:
        """Return the current objects of `place`, an `ObjectList`, with their proof.

        Raises `Fault` if they are not known within `timeout_seconds`. The watch stays open, or goes on loading, until
        each `user` of it has called `forget`. `changed` is called when the list may have changed, at most every 0.1 s.
        """
        watch = self._watches.get(place)
        if watch is None:
            watch = self._watches[place] = Watch(place, self._connect, self._settings, self._clock, self._shares)
        watch.users[user] = changed
        return await watch.found(timeout_seconds)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Mapping[str, Any],
        *,
        timeout_seconds: float = 5.0,
    ) -> bool:
        """Apply a merge patch to one object as field manager `keda-queue-scaler`; tell whether the object still exists.

        At most five patches a second are sent; raises `Unavailable` if that takes longer than `timeout_seconds`. Raises
        `ConflictError` if the object has another `uid` or `resourceVersion` than `change["metadata"]`, so that a patch
        never changes a newer object of the same name; or another `Fault`.
        """
        try:
            with deadline(self._clock, timeout_seconds):
                await self._connect().patch(resource, namespace, name, change)
        except NotFoundError:
            return False
        except TimeoutError:
            text = f"patch {resource} {namespace}/{name}: not done within {timeout_seconds:g} s"
            raise Unavailable(text) from None
        return True

    def forget(self, place: Objects, *, user: Hashable = None) -> None:
        """Note that `user` no longer needs `place`; without users its watch is closed."""
        watch = self._watches.get(place)
        if watch is None:
            return
        watch.users.pop(user, None)
        if not watch.users:
            self._end(place)

    async def close(self) -> None:
        """Close every watch and all connections."""
        for place in tuple(self._watches):
            self._end(place)
        await asyncio.gather(*self._ending, return_exceptions=True)
        if self._api is not None:
            await self._api.close()
            self._api = None

    def _end(self, place: Objects) -> None:
        watch = self._watches.pop(place)
        watch.close()
        self._ending.add(watch.task)
        watch.task.add_done_callback(self._ending.discard)

    def _connect(self) -> Api:
        if self._api is None:
            try:
                cluster = find_cluster(self._settings, os.environ)
            except SettingsError as error:
                raise Refused(str(error)) from None
            self._api = Api(cluster, self._clock, self._count_requests, self._shares)
        return self._api
