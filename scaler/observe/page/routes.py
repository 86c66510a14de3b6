"""The routes of the status page and its API: read-only, one template for each view, events for reloading."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from scaler.core.clock import Clock, sleep
from scaler.observe.page import words
from scaler.observe.page.guard import Guard, add_headers
from scaler.observe.page.rows import STATES, TROUBLE, Query, QueryError, Selection, moment, select
from scaler.observe.page.status import Status

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
REFRESH_SECONDS = 2.0
MAX_WATCHERS = 100
"""Open event streams; further pages do not update by themselves."""
MAX_EVENTS = 50
OPEN_PATHS = ("/metrics", "/healthz", "/readyz")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def environment() -> "Environment":
    """Return the environment of the templates; everything is escaped, and an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - 2 MB, which most servers never need

    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(HERE / "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "duration": words.duration,
        "latency": words.latency,
        "number": words.number,
        "dollars": words.dollars,
        "segment": lambda text: quote(text, safe=""),
        "path": quote,
        "sentence": words.sentence,
        "utc": words.utc,
    }
    made.globals |= {"sparkline": words.sparkline, "NOTHING": words.NOTHING, "STATES": STATES, "TROUBLE": TROUBLE}
    return made


class Page:
    """Serves the status page; `add_to` adds it to an application."""

    def __init__(self, status: Status, guard: Guard, clock: Clock, version: str) -> None:
        """Show `status` in answer to requests that `guard` admits."""
        self._status, self._guard, self._clock = status, guard, clock
        self._version = version
        self._watchers: set[asyncio.Task[Any]] = set()

    @cached_property
    def _templates(self) -> "Environment":
        made = environment()
        made.globals["version"] = self._version
        made.filters["age"] = lambda seconds: words.age(seconds, self._clock.wall())
        return made

    def add_to(self, app: web.Application) -> None:
        """Add the routes, the guard in front of them, and the headers of every answer."""
        app.router.add_get("/", self._table)
        app.router.add_get("/scaledobjects/{namespace}/{name}", self._scaled_object)
        app.router.add_get("/backends", self._backends)
        app.router.add_get("/backends/{backend:.+}", self._backend)
        app.router.add_get("/api/scaledobjects", self._api_table)
        app.router.add_get("/api/scaledobjects/{namespace}/{name}", self._api_scaled_object)
        app.router.add_get("/api/journal", self._api_journal)
        app.router.add_get("/api/backends", self._api_backends)
        app.router.add_get("/api/backends/{backend:.+}", self._api_backend)
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_static("/static", HERE / "static")
        app.middlewares.extend((self._admit, self._explain_bad_query))
        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._end_events)

    @web.middleware
    async def _admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_PATHS or request.path.startswith("/static/"):
            return await handler(request)
        if "token" in request.query:
            # A page instead of a redirect, so that a link from another site can have the token: on a redirect the
            # browser would not send the cookie, as the navigation is cross-site.
            entered = self._html("entered.html", {"target": quote(request.path)})
            if self._guard.sign_in(request, entered):
                return entered
        if not self._guard.admits(request):
            headers = {"WWW-Authenticate": 'Bearer realm="scaler"'}
            if request.path.startswith("/api/"):
                return _json({"error": "a bearer token is needed (page.tokenFile)"}, 401, headers)
            refused = self._html("token.html", {"wrong": "token" in request.query}, 401)
            refused.headers.update(headers)
            return refused
        return await handler(request)

    @web.middleware
    async def _explain_bad_query(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except QueryError as error:
            if request.path.startswith("/api/"):
                return _json({"error": str(error)}, 400)
            return self._html("problem.html", {"title": "This address makes no sense", "text": str(error)}, 400)

    # Pages

    async def _table(self, request: web.Request) -> web.Response:
        selection = await self._select(request)
        part = "HX-Request" in request.headers
        query = selection.query
        context = {
            "selection": selection,
            "query": query,
            "views": [(row, self._status.row_view(row)) for row in selection.rows],
            "text": request.query.get("q", "").strip(),
        }
        return self._html("rows.html" if part else "table.html", context, of=request)

    async def _scaled_object(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        triggers = self._status.triggers(namespace, name)
        past = self._status.journal.whole(namespace, name)["triggers"]
        if not (triggers or past):
            text = f"{namespace}/{name} has not asked within a day. KEDA asks at every polling interval."
            return self._html("problem.html", {"title": "Unknown ScaledObject", "text": text}, 404)
        events = [
            (number, event)
            for number, trigger in enumerate(past, 1)
            for event in trigger["events"]
            if event["kind"] != "value"
        ]
        events.sort(key=lambda each: -each[1]["at"])
        shown = {
            "namespace": namespace,
            "name": name,
            "triggers": triggers,
            "past": past,
            "events": events[:MAX_EVENTS],
        }
        return self._html("scaledobject.html", shown, of=request)

    async def _backends(self, request: web.Request) -> web.Response:
        return self._html("backends.html", {"backends": self._status.backends(), "cost": self._status.cost}, of=request)

    async def _backend(self, request: web.Request) -> web.Response:
        name = request.match_info["backend"]
        backend = self._status.backend(name)
        if backend is None:
            text = f"{name} has not been asked in the last hour."
            return self._html("problem.html", {"title": "Unknown backend", "text": text}, 404)
        return self._html("backend.html", {"backend": backend, "cost": self._status.cost}, of=request)

    def _html(
        self, template: str, context: Mapping[str, Any], status: int = 200, of: web.Request | None = None
    ) -> web.Response:
        """Return a page, or 304 if the browser that sent `of` has the same page, apart from ages."""
        text = self._templates.get_template(template).render(context)
        response = web.Response(text=text, content_type="text/html", status=status)
        response.headers["X-Now"] = f"{self._clock.wall():.0f}"
        return response if of is None else unless_seen(of, response, words.without_ages(text))

    # API

    async def _api_table(self, request: web.Request) -> web.Response:
        selection = await self._select(request)
        return _json(
            {
                "total": selection.total,
                "matched": selection.matched,
                "page": selection.query.page,
                "pages": selection.pages,
                "states": {state: selection.counts[state] for state in STATES},
                "items": [self._status.row_view(row) for row in selection.rows],
            }
        )

    async def _select(self, request: web.Request) -> Selection:
        query = Query.parse(request.query)
        return select(await self._status.rows(), query)

    async def _api_scaled_object(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        triggers = self._status.triggers(namespace, name)
        if not triggers:
            return _json({"error": f"{namespace}/{name} has not asked lately"}, 404)
        return _json({"namespace": namespace, "name": name, "triggers": triggers})

    async def _api_journal(self, request: web.Request) -> web.Response:
        query = request.query
        begin, end = moment(query, "from"), moment(query, "to")
        if begin is not None and end is not None and begin > end:
            raise QueryError("from: must not be later than to")
        journal = self._status.journal.whole(query.get("namespace"), query.get("name"), begin, end)
        return unless_seen(
            request, _json(journal), json.dumps([journal["since"], journal["omitted"], journal["triggers"]])
        )

    async def _api_backends(self, _: web.Request) -> web.Response:
        cost = self._status.cost
        return _json(
            {
                "sqsPricePerMillion": cost.sqs_price_per_million,
                "priceDate": cost.price_date,
                "items": self._status.backends(),
            }
        )

    async def _api_backend(self, request: web.Request) -> web.Response:
        name = request.match_info["backend"]
        backend = self._status.backend(name)
        return _json(backend) if backend is not None else _json({"error": f"{name} has not been asked lately"}, 404)

    # Events

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send an event every two seconds, on which the page reloads its own query."""
        task = asyncio.current_task()
        if len(self._watchers) >= MAX_WATCHERS or task is None:
            raise web.HTTPServiceUnavailable(text="too many pages are open\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        self._watchers.add(task)
        try:
            while True:
                await response.write(b"event: refresh\ndata: now\n\n")
                await sleep(self._clock, REFRESH_SECONDS)
        except ConnectionError:  # the page was closed
            return response
        finally:
            self._watchers.discard(task)

    async def _end_events(self, _: web.Application) -> None:
        for task in self._watchers:
            task.cancel()


def unless_seen(request: web.Request, response: web.Response, text: str) -> web.Response:
    """Return `response`, compressed, or 304 if the request has the ETag of `text`."""
    tag = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    if any(each.value == tag for each in request.if_none_match or ()):
        return web.Response(status=304, headers={"ETag": f'W/"{tag}"', "X-Now": response.headers.get("X-Now", "")})
    response.headers["ETag"] = f'W/"{tag}"'
    response.enable_compression()
    return response


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(content, allow_nan=False)
    return web.Response(text=text, content_type="application/json", status=status, headers=headers)
