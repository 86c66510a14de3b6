"""Reads pages of metrics that a Prometheus server, given by name or URL, has already scraped."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_core import from_json

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Answer, Request, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.quoting import quoted, secrets_of
from scaler.clients.http.reader import MAX_ANSWER_BYTES, HttpReader
from scaler.clients.http.tls import trust, unusable
from scaler.clients.pages.exposition import LEADER, START, Page, Sums, count_in
from scaler.clients.pages.judge import Changes, judged
from scaler.clients.pages.kept import Kept, bytes_of
from scaler.clients.pages.places import Wanted
from scaler.clients.pages.prometheus_query import OLDEST_SECONDS, STALE, TARGET_LABELS, UNSEEN, PrometheusPages
from scaler.clients.pages.settings import PrometheusServer
from scaler.core.budget import Budget
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof
from scaler.core.errors import Refused, Unavailable
from scaler.core.turns import rest

HINT = "; a server under `prometheus` of the configuration has headers, tokenFile, caFile and certFile"
NO_UP = (
    "no `up` has the labels of `selector`, so that targets which are down could not be told: give it labels that "
    "Prometheus puts to targets (job, namespace, pod) and none of the series' own (name, controller); where samples are "
    "forwarded, `up` must be among them"
)
LONG_QUERY = 3_500
"""Longer queries use POST. Shorter ones use GET, because not every proxy lets POST through."""
SERIES_AT_ONCE = 50
"""Taken in one turn, in half a millisecond; a full answer takes 40."""


class _Vector(BaseModel):
    type: Literal["vector"] = Field(alias="resultType")
    result: list[Any]  # parsed below, because a model for each series takes three times as long


class _Answer(BaseModel):
    """The answer of the HTTP API (prometheus.io/docs/prometheus/latest/querying/api).

    Its `infos` are remarks about the query; only `warnings` may mean that something is missing.
    """

    status: Literal["success", "error"]
    data: _Vector | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    is_partial: bool = Field(False, alias="isPartial")  # of VictoriaMetrics; Thanos has a warning instead


async def pages_of(place: PrometheusPages, body: bytes, secrets: Iterable[str] = ()) -> tuple[Page, ...]:
    """Return the pages in an answer to the query of `place`; raises `Fault` if any may be missing.

    `secrets` are masked in the text of the fault.
    """
    try:
        answer = _Answer.model_validate(from_json(body))  # `model_validate_json` takes twice as long
    except ValueError:
        raise Unavailable(f"{place}: the answer is not that of the HTTP API of Prometheus") from None
    if answer.status == "error" or answer.data is None:
        raise Unavailable(f"{place}: the query failed: {_quoted(answer.error, secrets)!r}")
    if answer.warnings or answer.is_partial:
        raise Unavailable(f"{place}: the answer may be partial: {_quoted(' '.join(answer.warnings), secrets)!r}")
    by = {family.name: family.by for family in place.families | {LEADER, START}}
    found: dict[tuple[str, ...], Sums] = {}
    unseen = False
    try:
        for number, series in enumerate(answer.data.result, 1):
            if not number % SERIES_AT_ONCE:
                await rest()
            labels: dict[str, str] = series["metric"]
            if UNSEEN in labels:
                unseen = True
                continue
            _check(place, labels, series["value"][1])
            name = labels["__name__"]
            page = found.setdefault(tuple(labels.get(label, "") for label in TARGET_LABELS), {})
            group = next((labels[label] for label in by[name] if labels.get(label)), "")
            sums = page.setdefault(name, {})
            sums[group] = sums.get(group, 0.0) + count_in(series["value"][1].encode())
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"{place}: the answer holds a series that is not understood") from None
    ours = {family.name for family in place.families - {START}}  # which others have, too
    pages = [
        Page(pod or instance, sums)
        for (instance, _, pod), sums in sorted(found.items(), key=lambda item: item[0])
        if sums.keys() & ours  # a selector may match other controllers that only have the leader election series
    ]
    if not pages:
        raise Unavailable(f"{place}: no series of {' or '.join(sorted(ours))}; is `selector` right, and is it scraped?")
    if unseen:
        raise Unavailable(f"{place}: {NO_UP}")
    return judged(str(place), Wanted(place.families, frozenset(ours)), pages)


def _check(place: PrometheusPages, labels: Mapping[str, str], value: str) -> None:
    """Raise `Unavailable` for what says that a target is down, or its samples too old."""
    target = f"{labels.get('instance')} of job {labels.get('job')}"
    if STALE in labels:
        raise Unavailable(
            f"{place}: the newest sample of {target} is {float(value):.0f} s old, more than {OLDEST_SECONDS}; does this "
            "Prometheus still get samples of it, and is it the right one?"
        )
    if labels.get("__name__") == "up":
        raise Unavailable(
            f"{place}: Prometheus cannot scrape {target}, so that its work is not known; if it is not of this workload, "
            "make `selector` narrower"
        )


def _quoted(text: str, secrets: Iterable[str]) -> str:
    return quoted(text.encode("utf-8", "replace"), secrets)


class PrometheusReader(HttpReader):
    """Sends one query for each place."""

    operation = "query"
    kinds = frozenset({PrometheusPages.kind})

    def __init__(  # noqa: PLR0913, PLR0917 - the clients of the process that it uses
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        prometheus: Mapping[str, PrometheusServer],
        may_fetch: Callable[[str], None],
        budget: Budget,
        count_requests: CountRequests,
        known_names: Callable[[str, Iterable[str]], str],
    ) -> None:
        """Query the servers in `prometheus`, and other URLs if `addresses` and, for redirects, `may_fetch` allow it."""
        super().__init__(clock, addresses, names, may_fetch, budget, count_requests)
        self._servers, self._known_names = prometheus, known_names
        self._kept, self._changes = Kept(), Changes(clock)

    async def found(self, place: PrometheusPages, body: bytes, answer: Answer, request: Request) -> Found:
        """Return a tuple of `Page`, ordered by target."""
        del answer  # JSON that was cut off does not parse
        pages = await pages_of(place, body, (*request.secrets, *secrets_of(request.headers)))
        kept = self._kept.held()
        kept.resize(bytes_of(pages))
        self._kept.keep(place, kept)
        proof = Proof(
            "status success without warnings",
            f"{place}: {len(pages)} targets, none down, no sample older than {OLDEST_SECONDS} s",
        )
        pages, changed_at = self._changes.note(place, place.families, pages)
        return Found(pages, proof, changed_at)

    def request(self, place: PrometheusPages) -> Request:
        """Return the query, to the server of the configuration or the URL that `place` names."""
        server = self._server(place)
        base, login = without_credentials(server.url.get_secret_value())
        given = {name: value.get_secret_value() for name, value in server.parameters.items()}
        headers = login | {name: value.get_secret_value() for name, value in server.headers.items()}
        secrets = (*given.values(), *(value.get_secret_value() for value in server.headers.values()))
        query = {**given, "query": place.query()}
        try:
            if server.token_file is not None:
                headers["Authorization"] = f"Bearer {server.token_file.read_text().strip()}"
            tls = trust(server)
        except (OSError, ValueError) as error:
            raise Unavailable(f"{place}: tokenFile, caFile or certFile cannot be used: {unusable(error)}") from None
        long = len(query["query"]) > LONG_QUERY
        url = base / "api/v1/query"
        request = Request(
            url=url if long else url.with_query(query),
            where=str(place),
            max_bytes=MAX_ANSWER_BYTES,
            headers=headers,
            secrets=secrets,
            form=query if long else None,
            tls=tls,
            quotes=True,
            hint=HINT,
        )
        return request if place.server else self.followed(request)

    def _server(self, place: PrometheusPages) -> PrometheusServer:
        if not place.server:
            return PrometheusServer(url=SecretStr(place.url))
        server = self._servers.get(place.server)
        if server is None:
            known = self._known_names("prometheus", self._servers)
            raise Refused(f"prometheus: the configuration has no server named {place.server}; {known}")
        return server

    def forget(self, place: Place) -> None:
        """Release the memory for `place`."""
        self._kept.forget(place)
        self._changes.forget(place)
