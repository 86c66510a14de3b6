"""Reads places that are one HTTP answer each, for any source on an HTTP API."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, final

from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Answer, Request, deadline, fetch, shown, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.session import Sessions
from scaler.core.budget import Budget
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof, SingleReader
from scaler.core.errors import Fault, Unavailable

MAX_ANSWER_BYTES = 512 * 1024
"""So much can be decoded at once without delaying other tasks."""
UNDER_WAY_BYTES = 8 * MAX_ANSWER_BYTES
"""Memory of one read: the answer, and its decoded form."""
SECONDS = 4.5
"""Of one read, less than the store's limit, so that the fault says what was waited for."""


@dataclass(frozen=True, slots=True)
class HttpPlace(Place):
    """A place whose value is in the answer to GET `url`. The user name and password of `url` are sent, and shown nowhere."""

    url: str = field(repr=False)

    @property
    def backend(self) -> str:
        """The server, after the kind."""
        return f"{self.kind}/{URL(self.url).host_port_subcomponent}"

    @abstractmethod
    def value(self, body: bytes) -> Any:
        """Return the value in a whole answer; raises a `Fault`, or any other error if it cannot be understood."""


class HttpReader(SingleReader):
    """Sends one request for each place; a source subclasses it and says `kinds`, which are those of `HttpPlace`s."""

    operation: ClassVar[str] = "GET"

    def __init__(  # noqa: PLR0913, PLR0917 - `Backends.hand` passes the clients by name
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        may_fetch: Callable[[str], None],
        budget: Budget,
        count_requests: CountRequests,
    ) -> None:
        """Connect to nothing yet; `addresses` and, for redirects, `may_fetch` say what may be asked."""
        self._clock, self._may_fetch, self._budget = clock, may_fetch, budget
        self._count_requests = count_requests
        self._sessions = Sessions(clock, addresses, names)

    @final
    async def find(self, place: Any) -> Found:
        """Return the value of `place`, or raise the `Fault` why there is none."""
        where, request, received = str(place), self.request(place), bytearray()
        self._count_requests(place.backend, self.operation, 1)
        async with (
            self._budget.turn(UNDER_WAY_BYTES, self._clock, SECONDS, where),
            deadline(self._clock, SECONDS, where),
        ):
            answer = await fetch(await self._sessions.get(), request, received.extend)
            return await self.found(place, bytes(received), answer, request)

    def request(self, place: Any) -> Request:
        """Return the request for `place`."""
        url, headers = without_credentials(place.url)
        request = Request(url=url, where=str(place), max_bytes=MAX_ANSWER_BYTES, headers=headers, quotes=True)
        return self.followed(request)

    def followed(self, request: Request) -> Request:
        """Return `request` that follows allowed redirects, without its credentials if one leads to another origin."""
        return replace(request, hop=partial(self._hop, request))

    def _hop(self, request: Request, url: URL) -> Request:
        self._may_fetch(shown(url))
        same = url.origin() == request.url.origin()
        return replace(request, url=url, headers=request.headers if same else {})

    async def found(self, place: Any, body: bytes, answer: Answer, request: Request) -> Found:
        """Return the value in `body`; raises `Unavailable` if nothing shows that it is whole."""
        if not answer.end:
            raise Unavailable(f"{place}: nothing shows where the answer ends; it may have been cut off")
        try:
            value = place.value(body)
        except Fault as fault:
            raise type(fault)(f"{place}: {fault}") from None
        except Exception as error:  # noqa: BLE001 - any error that a strange answer causes is a fault of this place
            raise Unavailable(f"{place}: an answer that cannot be understood ({type(error).__name__})") from None
        return Found(value, Proof(f"the answer to its end, by {answer.end}", shown(request.url)))

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()
