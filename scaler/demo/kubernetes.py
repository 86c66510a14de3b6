"""A double of the Kubernetes API over HTTP: discovery, paged lists, watches with bookmarks, tokens with RBAC rules."""

import asyncio
import base64
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from scaler.core.clock import Clock, SystemClock
from scaler.demo.kubernetes_patch import note_manager, patched
from scaler.demo.kubernetes_paths import Refusal, Rule, Target, discovery, forbidden, not_found, parse_path
from scaler.demo.kubernetes_store import ExpiredError, JsonObject, Kind, Matches, Store, Stored, seen_by

KINDS = (
    Kind("", "v1", "Pod", "pods"),
    Kind("", "v1", "Secret", "secrets"),
    Kind("argoproj.io", "v1alpha1", "Application", "applications"),
    Kind("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
    Kind("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
    Kind("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories"),
    Kind("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ocirepositories"),
    Kind("source.toolkit.fluxcd.io", "v1", "HelmRepository", "helmrepositories"),
    Kind("source.toolkit.fluxcd.io", "v1", "HelmChart", "helmcharts"),
    Kind("source.toolkit.fluxcd.io", "v1", "Bucket", "buckets"),
    Kind("image.toolkit.fluxcd.io", "v1", "ImageRepository", "imagerepositories"),
    Kind("image.toolkit.fluxcd.io", "v1", "ImagePolicy", "imagepolicies"),
    Kind("image.toolkit.fluxcd.io", "v1", "ImageUpdateAutomation", "imageupdateautomations"),
)

_EVERYTHING = (Rule(),)


@dataclass(slots=True, eq=False)
class _Watcher:
    """One open watch, and what it must send when `due` is set."""

    bookmarks: bool
    due: asyncio.Event = field(default_factory=asyncio.Event)
    bookmark: bool = False
    ended: bool = False

    def ring(self, *, bookmark: bool = False, ended: bool = False) -> None:
        self.bookmark |= bookmark and self.bookmarks
        self.ended |= ended
        self.due.set()


class KubernetesDouble:
    """An API server with a few kinds, in this process; `put` and `delete` change its objects."""

    def __init__(
        self,
        kinds: tuple[Kind, ...] = KINDS,
        *,
        tokens: Mapping[str, tuple[Rule, ...]] | None = None,
        clock: Clock | None = None,
        bookmark_seconds: float = 60.0,
    ) -> None:
        """Allow everything to everyone or, with `tokens`, to the bearer of each what its rules grant."""
        self.kinds = {kind.plural: kind for kind in kinds}
        self.store = Store(kinds)
        self.tokens = tokens
        self.requests: Counter[tuple[str, str]] = Counter()
        """The number of requests of each kind: `("list", "pods")`, `("get", "/apis")`."""
        self.refusal: Refusal | None = None
        """If set, the answer to every request."""
        self.url = ""
        self._clock = clock or SystemClock()
        self._bookmark_seconds = bookmark_seconds
        self._watchers: set[_Watcher] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        """Listen on this machine and return the address."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self.url

    async def stop(self) -> None:
        """End every watch and stop listening."""
        self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()

    def put(self, plural: str, document: Mapping[str, Any]) -> JsonObject:
        """Create or replace an object, with an event for watches."""
        result = self.store.put(self.kinds[plural], document)
        self._ring()
        return result

    def delete(self, plural: str, namespace: str, name: str) -> JsonObject | None:
        """Remove and return an object if it exists, with an event for watches."""
        result = self.store.delete(self.kinds[plural], namespace, name)
        self._ring()
        return result

    def bookmark(self) -> None:
        """Send a bookmark on every watch now."""
        self._ring(bookmark=True)

    def end_watches(self) -> None:
        """End every watch, as an API server does at their timeout."""
        self._ring(ended=True)

    @property
    def watches(self) -> int:
        """The number of open watches."""
        return len(self._watchers)

    def _ring(self, *, bookmark: bool = False, ended: bool = False) -> None:
        for watcher in self._watchers:
            watcher.ring(bookmark=bookmark, ended=ended)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._dispatch(request)
        except Refusal as refusal:
            return web.json_response(refusal.status, status=refusal.code)

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if self.refusal is not None:
            raise self.refusal
        rules = self._authenticate(request)
        document = discovery(request.path, self.kinds.values())
        if document is not None:
            self.requests["get", request.path] += 1
            return web.json_response(document)
        target = parse_path(request.path, self.kinds.values())
        verb = _verb(request, target)
        self.requests[verb, target.kind.plural] += 1
        if not any(rule.grants(verb, target) for rule in rules):
            raise forbidden(verb, target)
        if verb == "watch":
            return await self._watch(request, target)
        return self._list(request, target) if verb == "list" else await self._single(request, target, verb)

    def _authenticate(self, request: web.Request) -> tuple[Rule, ...]:
        if self.tokens is None:
            return _EVERYTHING
        rules = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if rules is None:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        return rules

    def _list(self, request: web.Request, target: Target) -> web.Response:
        at, after = self.store.version, ["", ""]
        if token := request.query.get("continue"):
            at, after = json.loads(base64.urlsafe_b64decode(token))
        self._check_version(request.query.get("resourceVersion", ""))
        try:
            found = self.store.snapshot(target.kind, target.matches(request.query.get("labelSelector", "")), at)
        except ExpiredError:
            raise Refusal(
                410, "Expired", "The provided continue parameter is too old to display a consistent list"
            ) from None
        rest = [stored for stored in found if list(stored.key) > after]
        page = rest[: int(request.query.get("limit") or 0) or None]
        metadata: JsonObject = {"resourceVersion": str(at)}
        if len(page) < len(rest):
            token = base64.urlsafe_b64encode(json.dumps([at, page[-1].key]).encode()).decode()
            metadata |= {"continue": token, "remainingItemCount": len(rest) - len(page)}
        return web.Response(text=_list_text(target.kind, page, metadata), content_type="application/json")

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        matches = target.matches(request.query.get("labelSelector", ""))
        version = request.query.get("resourceVersion", "")
        self._check_version(version)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        sent_version = self.store.version
        if version in {"", "0"}:  # first all objects as ADDED events
            for stored in self.store.snapshot(target.kind, matches, sent_version):
                await response.write(_event("ADDED", stored.text))
        else:
            sent_version = int(version)
        watcher = _Watcher(bookmarks=request.query.get("allowWatchBookmarks") == "true")
        self._watchers.add(watcher)
        end = self._clock.now() + float(request.query.get("timeoutSeconds") or 1800)
        timer = self._clock.call_at(end, lambda: watcher.ring(ended=True))
        try:
            await self._follow(response, target.kind, matches, sent_version, watcher)
        finally:
            timer.cancel()
            self._watchers.discard(watcher)
        return response

    async def _follow(
        self, response: web.StreamResponse, kind: Kind, matches: Matches, sent_version: int, watcher: _Watcher
    ) -> None:
        while True:
            watcher.due.clear()
            try:
                changes = self.store.changes(kind, sent_version)
            except ExpiredError:  # as an event, because the status line is sent already
                expired = Refusal(410, "Expired", f"too old resource version: {sent_version} ({self.store.oldest})")
                await response.write(_event("ERROR", json.dumps(expired.status)))
                return
            sent_version = self.store.version
            for event in filter(None, (seen_by(change, matches) for change in changes)):
                await response.write(_event(event[0], event[1].text))
            if watcher.bookmark:
                watcher.bookmark = False
                mark = {
                    "kind": kind.kind,
                    "apiVersion": kind.api_version,
                    "metadata": {"resourceVersion": str(sent_version)},
                }
                await response.write(_event("BOOKMARK", json.dumps(mark)))
            if watcher.ended:
                return
            await self._due(watcher)

    async def _due(self, watcher: _Watcher) -> None:
        next_bookmark = self._clock.now() + self._bookmark_seconds
        timer = self._clock.call_at(next_bookmark, lambda: watcher.ring(bookmark=True))
        try:
            await watcher.due.wait()
        finally:
            timer.cancel()

    def _check_version(self, version: str) -> None:
        if version and not version.isdecimal():
            raise Refusal(400, "BadRequest", f"invalid resource version {version!r}")
        if version and int(version) > self.store.version:
            raise Refusal(504, "Timeout", f"Too large resource version: {version}, current: {self.store.version}")

    async def _single(self, request: web.Request, target: Target, verb: str) -> web.Response:
        kind, namespace = target.kind, target.namespace
        body: JsonObject = await request.json() if verb in {"create", "update", "patch"} else {}
        name = target.name or str(body.get("metadata", {}).get("name", ""))
        there = self.store.get(kind, namespace, name)
        if verb == "create":
            if there:
                raise Refusal(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        elif there is None:
            raise not_found(f'{kind.plural} "{name}"')
        if verb == "get":
            return web.json_response(there)
        if verb == "delete":
            self.delete(kind.plural, namespace, name)
            return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        version = body.get("metadata", {}).get("resourceVersion")
        if there and version and version != there["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", f'{kind.plural} "{name}" has been modified')
        document = patched(kind, there or {}, body, request.content_type) if verb == "patch" else body
        document["metadata"] |= {"name": name} | ({"namespace": namespace} if kind.namespaced else {})
        if manager := request.query.get("fieldManager"):
            document = note_manager(kind, document, body, manager, self._clock.wall())
        return web.json_response(self.put(kind.plural, document), status=201 if verb == "create" else 200)


def _verb(request: web.Request, target: Target) -> str:
    if request.method == "GET" and not target.name:
        return "watch" if request.query.get("watch") in {"true", "1"} else "list"
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if request.method not in verbs or bool(target.name) == (request.method == "POST"):
        raise Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    return verbs[request.method]


def _list_text(kind: Kind, page: list[Stored], metadata: JsonObject) -> str:
    """Return a list as an API server writes it: built-in kinds in the order of their Go type, others sorted by key."""
    items = f'"items":[{",".join(stored.text for stored in page)}]'
    head = f'"kind":"{kind.kind}List"'
    if kind.group:
        return f'{{"apiVersion":"{kind.api_version}",{items},{head},"metadata":{json.dumps(metadata)}}}\n'
    return f'{{{head},"apiVersion":"{kind.api_version}","metadata":{json.dumps(metadata)},{items}}}\n'


def _event(type_: str, text: str) -> bytes:
    return f'{{"type":"{type_}","object":{text}}}\n'.encode()
