"""Requests to the Kubernetes API: discovery, pages of a list, watch, patch; every error becomes a `Fault`."""

import asyncio
import json
import math
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from yarl import URL

from scaler.clients.http.quoting import without_secrets
from scaler.clients.kubernetes.config import Cluster
from scaler.clients.kubernetes.credentials import Credentials
from scaler.clients.kubernetes.faults import GarbledError, NotFoundError, error_event, message_of, refusal, trouble
from scaler.clients.kubernetes.json_stream import (
    Event,
    EventLines,
    JsonObject,
    ListPage,
    WholeList,
    decode_document,
)
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.kubernetes.shares import Shares
from scaler.core.clock import Clock, deadline, sleep
from scaler.core.domain import CountRequests
from scaler.core.errors import Refused, Throttled, Unavailable
from scaler.core.turns import rest

PAGE_OBJECTS = 500  # as in kubectl
ANSWER_SECONDS = 10.0  # timeout between two pieces of an answer
ALIVE_SECONDS = 5.0  # an answer to any request in this time proves that the API answers
PROBE_SECONDS = 3.0
PIECE_SIZE = 2**16  # takes 1 to 4 ms to decode
MAX_DOCUMENT_SIZE = 4 * 2**20
FIELD_MANAGER = "keda-queue-scaler"
WRITES_PER_SECOND = 5.0  # to one API server, of all users together
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_KEEP_ALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A vanished peer is noticed after 30 s; by default Linux would probe only after two hours."""


class Api:
    """One API server, one session; belongs to the running loop."""

    def __init__(self, cluster: Cluster, clock: Clock, count_requests: CountRequests, shares: Shares) -> None:
        """Connect at the first request; parse within the limits of `shares`."""
        self._server = cluster.server
        self._server_name = cluster.server_name
        self._credentials = Credentials(cluster, clock)
        self._clock = clock
        self._count = count_requests
        self._shares = shares
        self._discovered: dict[str, asyncio.Task[frozenset[str]]] = {}
        self._answered_at = -math.inf
        self._probe: asyncio.Task[None] | None = None
        self._write_at = -math.inf
        self._session = aiohttp.ClientSession(
            # Each watch holds a connection; their number is limited where they are opened.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=10, socket_factory=_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # timeouts use the clock instead
            # Not compressed: one network buffer could hold 10 MB of managedFields, and compressing costs the API server
            # CPU.
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "keda-queue-scaler"},
        )

    async def close(self) -> None:
        """Close all connections."""
        running = [*self._discovered.values(), *([self._probe] if self._probe else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._session.close()

    async def page(self, place: Objects, pages: WholeList, keep: Callable[[JsonObject], None]) -> None:
        """Pass each object of the next page to `keep`, then add the page to `pages`."""
        params = {"limit": str(PAGE_OBJECTS)} | ({"continue": pages.token} if pages.token else {})
        page = ListPage(keep)
        async with self._open("list", place, params) as response, self._shares.taking(page, page.feed) as take:
            while chunk := await self._chunk(response, ANSWER_SECONDS):
                await take(chunk)
            pages.add(page.finish())

    async def patch(self, resource: Resource, namespace: str, name: str, change: Mapping[str, Any]) -> None:
        """Apply `change` to one object as a merge patch (RFC 7386), within the rate limit of all writes.

        Raises `NotFoundError` if the object does not exist, `ConflictError` if it has another `metadata.uid` or
        `metadata.resourceVersion` than `change`, or another `Fault`.
        """
        if not _NAME.fullmatch(name):
            raise Refused(f"{resource} {name!r} is not a name that Kubernetes allows")
        path = f"{await self._path(resource, namespace)}/{name}"
        self._write_at = max(self._clock.now(), self._write_at + 1 / WRITES_PER_SECOND)
        await sleep(self._clock, self._write_at - self._clock.now())
        what = f"patch {resource} {namespace}/{name}"
        async with self._request("patch", path, {"fieldManager": FIELD_MANAGER}, what, change) as response:
            await self._body(response)

    async def watch(
        self,
        place: Objects,
        version: str,
        silent_at: Callable[[], float],
        opened: Callable[[], None],
        handle: Callable[[Event], None],
    ) -> None:
        """Watch from `version`: call `opened` when the API has accepted, then `handle` for each event, until it ends.

        It also ends at `silent_at`, which moves with each event, because a dead connection is not reported.
        """
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            # At random as in client-go, so that not all watches end at once.
            "timeoutSeconds": str(random.randrange(300, 600)),  # noqa: S311 - not for security
        }
        lines = EventLines()

        def feed(piece: bytes) -> None:
            for event in lines.feed(piece):
                if event.type == "ERROR":
                    raise error_event(event.object, f"{self}: watch {place}")
                handle(event)

        def patience() -> float:
            left = silent_at() - self._clock.now()
            return min(left, ANSWER_SECONDS) if lines.large else left  # others wait for a large object

        async with self._open("watch", place, params) as response, self._shares.taking(lines, feed) as take:
            opened()
            with suppress(TimeoutError):
                while chunk := await self._chunk(response, patience()):
                    await take(chunk)

    async def check(self) -> None:
        """Raise `Fault` unless the API has answered lately or answers now, because a silent watch may be dead."""
        if self._clock.now() - self._answered_at < ALIVE_SECONDS:
            return
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask_version())
            self._probe.add_done_callback(lambda done: done.cancelled() or done.exception())  # so that its error counts
            # as retrieved if nobody waits any more
        await asyncio.shield(self._probe)

    async def _ask_version(self) -> None:
        try:
            with deadline(self._clock, PROBE_SECONDS):
                async with self._request("get", "/version", {}, "version"):
                    pass
        except TimeoutError:
            raise Unavailable(f"{self}: no answer within {PROBE_SECONDS:.0f} s") from None
        except (Refused, Throttled):
            pass  # also an answer

    async def _path(self, resource: Resource, namespace: str) -> str:
        if namespace and not _NAMESPACE.fullmatch(namespace):  # it becomes part of a path
            raise Refused(f"namespace {namespace!r} is not a name that Kubernetes allows")
        base = await self._version(resource)
        within = f"/namespaces/{namespace}" if namespace else ""
        return f"{base}{within}/{resource.plural}"

    async def _version(self, resource: Resource) -> str:
        """Return the path of the first acceptable version in which the server has `resource`; raises `Fault`."""
        home = f"/apis/{resource.group}" if resource.group else "/api"
        served = await self._discover(home)
        for version in resource.versions:
            if version in served and resource.plural in await self._discover(f"{home}/{version}"):
                return f"{home}/{version}"
        self._forget_versions(resource)  # so that it is looked for again: it may be installed later
        wanted = " or ".join(resource.versions)
        raise Refused(f"{self} does not have {resource} in {wanted}: install its CRD, or a version that has it")

    def _forget_versions(self, resource: Resource) -> None:
        home = f"/apis/{resource.group}" if resource.group else "/api"
        for path in [home, *(f"{home}/{version}" for version in resource.versions)]:
            self._discovered.pop(path, None)

    async def _discover(self, path: str) -> frozenset[str]:
        """Return the names in a discovery document: versions of a group, or resources of a version; cached."""
        task = self._discovered.get(path)
        if task is None:
            task = self._discovered[path] = asyncio.create_task(self._names(path))
            task.add_done_callback(lambda done: self._drop_failed(path, done))
        return await asyncio.shield(task)

    def _drop_failed(self, path: str, done: asyncio.Task[frozenset[str]]) -> None:
        if (done.cancelled() or done.exception()) and self._discovered.get(path) is done:
            del self._discovered[path]

    async def _names(self, path: str) -> frozenset[str]:
        try:
            async with self._request("get", path, {}, f"discover {path}") as response:
                document = decode_document(await self._body(response))
        except NotFoundError:
            return frozenset()
        versions, resources = document.get("versions"), document.get("resources")
        if isinstance(versions, list):  # APIGroup has objects, APIVersions (core group) has names
            return frozenset(str(entry.get("version")) if isinstance(entry, dict) else str(entry) for entry in versions)
        if isinstance(resources, list):
            return frozenset(str(entry.get("name")) for entry in resources if isinstance(entry, dict))
        raise Unavailable(f"{self}: discover {path}: answered with something that is no discovery document")

    @asynccontextmanager
    async def _open(
        self, verb: str, place: Objects, params: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        path = await self._path(place.resource, place.namespace)
        selector = {"labelSelector": place.selector} if place.selector else {}
        try:
            async with self._request(verb, path, {**params, **selector}, f"{verb} {place}") as response:
                yield response
        except NotFoundError:
            self._forget_versions(place.resource)
            raise

    @asynccontextmanager
    async def _request(
        self, operation: str, path: str, params: Mapping[str, str], what: str, change: Mapping[str, Any] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._send(operation, path, params, change)
            if response.status == 401 and self._credentials.renew():
                response.close()
                response = await self._send(operation, path, params, change)
            async with response:
                if response.status != 200:
                    body = without_secrets(await self._body(response), response.request_info.headers)
                    message = message_of(body)
                    verbs = "list and watch" if change is None else "patch"
                    raise refusal(response.status, response.headers, message, f"{self}: {what}", verbs)
                yield response
        except TimeoutError:
            raise Unavailable(f"{self}: {what}: no answer within {ANSWER_SECONDS:.0f} s") from None
        except BadAnswerError as error:
            raise GarbledError(f"{self}: {what}: answered with {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self}: {what}: {trouble(error)}") from None

    async def _send(
        self, operation: str, path: str, params: Mapping[str, str], change: Mapping[str, Any] | None
    ) -> aiohttp.ClientResponse:
        headers, tls = await self._credentials.headers(), await self._credentials.tls()
        self._count("kubernetes", operation, 1)
        with deadline(self._clock, ANSWER_SECONDS):
            response = await self._session.request(
                "GET" if change is None else "PATCH",
                URL(self._server + path).with_query(params),
                headers=headers if change is None else headers | {"Content-Type": "application/merge-patch+json"},
                data=None if change is None else json.dumps(change).encode(),
                ssl=tls,
                server_hostname=self._server_name,
                allow_redirects=False,  # the token must not be sent elsewhere
            )
        self._note_answer(response)
        return response

    async def _chunk(self, response: aiohttp.ClientResponse, seconds: float) -> bytes:
        await rest()  # reading buffered data does not wait, so other tasks get a turn here
        with deadline(self._clock, seconds):
            piece = await response.content.read(PIECE_SIZE)
        if piece:
            self._note_answer(response)
        return piece

    def _note_answer(self, response: aiohttp.ClientResponse) -> None:
        if response.status < 500:  # a 5xx may come from a gateway
            self._answered_at = self._clock.now()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        while chunk := await self._chunk(response, ANSWER_SECONDS):
            body += chunk
            if len(body) > MAX_DOCUMENT_SIZE:
                raise BadAnswerError(f"a document of more than {MAX_DOCUMENT_SIZE >> 20} MiB, which is the limit")
        return bytes(body)

    def __str__(self) -> str:
        return f"Kubernetes API {self._server}"


def _socket(address: Sequence[Any]) -> socket.socket:
    """Return a socket with TCP keepalive, as far as this system supports it."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
