"""One HTTP answer, streamed and bounded, with everything that can go wrong told as a fault."""

import asyncio
import ssl
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from scaler.core.clock import Clock
from scaler.core.errors import Fault, Refused, Throttled, Unavailable, let_go

MAX_REDIRECTS = 3
PIECE_BYTES = 64 * 1024
"""What is handed on at a time; between two pieces other tasks get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to fetch. `where` names it in messages and holds no secret; neither does `url`."""

    url: URL
    where: str
    max_bytes: int  # of the body, unpacked
    address: str | None = None  # connect to this one; the Host header and TLS keep to the name in `url`
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = None  # sent by POST
    tls: ssl.SSLContext | bool = True
    answers: frozenset[int] = frozenset({200})  # whose body is wanted


@dataclass(frozen=True, slots=True)
class Answer:
    """How the server answered."""

    status: int
    content_type: str


def checked_url(url: str) -> str:
    """Return `url` if it is one that `fetch` takes; raises `ValueError` with what is allowed, without the URL."""
    try:
        parsed = URL(url)
        usable = parsed.scheme in {"http", "https"} and bool(parsed.host) and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    return url


def without_credentials(url: str) -> tuple[URL, dict[str, str]]:
    """Return `url` without user name, password and fragment, and the headers that carry them instead."""
    whole = URL(url)
    if whole.user is None and whole.password is None:
        return whole.with_fragment(None), {}
    login = b64encode(f"{whole.user or ''}:{whole.password or ''}".encode()).decode()
    return whole.with_user(None).with_fragment(None), {"Authorization": f"Basic {login}"}


SHORTEST_SECRET = 4
"""Characters of a password that is looked for in what a server answers."""


def without_secrets(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return `body` without the credentials of the request's `headers`: some servers and proxies quote what they refuse."""
    scheme, _, secret = headers.get("Authorization", "").partition(" ")
    secrets = [secret]
    if scheme == "Basic":
        secrets.append(b64decode(secret).decode().partition(":")[2])
    for each in secrets:
        if len(each) >= SHORTEST_SECRET:  # anything shorter is in any text, and proves nothing
            body = body.replace(each.encode(), b"***")
    return body


def shown(url: URL) -> str:
    """Return `url` for messages: neither credentials nor the query, which may hold a token."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


@asynccontextmanager
async def deadline(clock: Clock, seconds: float, where: str) -> AsyncIterator[None]:
    """Raise `Unavailable` for `where` when what is done within takes longer than `seconds` of `clock`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as scope:
            timer = clock.call_at(clock.now() + seconds, lambda: scope.reschedule(loop.time()))
            try:
                yield
            finally:
                timer.cancel()
    except TimeoutError:
        raise Unavailable(f"{where}: no complete answer within {seconds:g} s") from None


async def fetch(session: aiohttp.ClientSession, request: Request, take: Callable[[bytes], None]) -> Answer:
    """Hand the body of the answer to `take` piece by piece, and return when it was whole; raises `Fault`.

    A redirect is followed only on the same host, because that is what was allowed to be read, and never from https to
    http. The status decides the fault: 429 is `Throttled`, other 4xx are `Refused`, the rest `Unavailable`. A body with
    neither length nor chunks ends with its connection; whether that was its end is for the caller to see in it.
    """
    url = request.url
    with faults(request.where):
        for _ in range(MAX_REDIRECTS + 1):
            async with _open(session, request, url) as response:
                if response.status in {301, 302, 303, 307, 308}:
                    url = _redirected(url, response.headers.get("Location", ""), request.where)
                    continue
                if response.status not in request.answers:
                    raise _status_fault(response.status, request.where)
                await _stream(response, request, take)
                return Answer(response.status, response.headers.get("Content-Type", "").lower())
    raise Unavailable(f"{request.where}: more than {MAX_REDIRECTS} redirects")


def _open(
    session: aiohttp.ClientSession, request: Request, url: URL
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    headers = {"Accept-Encoding": "gzip", **request.headers}
    name = None
    if request.address is not None:
        headers["Host"] = url.host_port_subcomponent or ""
        name = url.raw_host if url.scheme == "https" else None
        url = url.with_host(request.address)
    return session.request(
        "GET" if request.form is None else "POST",
        url,
        headers=headers,
        data=request.form,
        ssl=request.tls,
        server_hostname=name,
        allow_redirects=False,
        auto_decompress=False,  # aiohttp takes a compressed body that was cut short for a whole one
    )


def _redirected(url: URL, location: str, where: str) -> URL:
    try:
        target = url.join(URL(location))
    except ValueError:
        target = URL()
    if target.scheme not in {"http", "https"} or target.host != url.host or target.user is not None:
        raise Unavailable(f"{where}: redirects to another host, which is not followed; give the address that it means")
    if (url.scheme, target.scheme) == ("https", "http"):
        raise Unavailable(f"{where}: redirects from https to http, which is not followed")
    return target


def _status_fault(status: int, where: str) -> Fault:
    match status:
        case 401 | 403:
            return Refused(f"{where}: HTTP {status}, the server refuses the scaler's credentials or asks for some")
        case 404:
            return Refused(f"{where}: HTTP 404, there is nothing under this path")
        case 429:
            return Throttled(f"{where}: HTTP 429, the server asks to be asked less often")
        case _ if 400 <= status < 500:
            return Refused(f"{where}: HTTP {status}")
        case _:
            return Unavailable(f"{where}: HTTP {status}")


async def _stream(response: aiohttp.ClientResponse, request: Request, take: Callable[[bytes], None]) -> None:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise Unavailable(f"{request.where}: answers in an encoding that was not asked for; gzip or none is understood")
    unpacker = _Gzip(request.where) if encoding == "gzip" else None
    size = 0
    async for chunk in response.content.iter_any():
        for piece in _cut(chunk) if unpacker is None else unpacker.pieces(chunk):
            size += len(piece)
            if size > request.max_bytes:
                raise Unavailable(
                    f"{request.where}: the answer is larger than {request.max_bytes} bytes, which is the limit"
                )
            take(piece)
            await asyncio.sleep(0)
    if unpacker is not None:
        unpacker.end()


def _cut(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), PIECE_BYTES):
        yield chunk[start : start + PIECE_BYTES]


class _Gzip:
    """Unpacks one gzip member, in pieces of at most `PIECE_BYTES` however far a chunk expands."""

    def __init__(self, where: str) -> None:
        self._fault = Unavailable(f"{where}: the compressed answer is not whole")
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._inflate.eof:
                raise self._fault
            yield self._inflate.decompress(chunk, PIECE_BYTES)
            chunk = self._inflate.unconsumed_tail

    def end(self) -> None:
        if not self._inflate.eof or self._inflate.unused_data:
            raise self._fault


@contextmanager
def faults(where: str) -> Iterator[None]:
    """Tell the errors of aiohttp as faults, without the URL and the headers that those quote."""
    try:
        yield
    except (aiohttp.ClientError, OSError, zlib.error) as error:
        reason = getattr(let_go(error), "os_error", None)
        if isinstance(reason, Fault):  # of the look-up or the address guard
            raise (Refused if isinstance(reason, Refused) else Unavailable)(f"{where}: {reason}") from None
        raise Unavailable(f"{where}: {_problem(error)}") from None


def _problem(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", None) or "it cannot be verified"
            problem = f"the TLS certificate is refused: {reason}"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            problem = "no TLS connection; does the server speak https on this port?"
        case aiohttp.ClientConnectorError():
            problem = f"no connection: {error.os_error.strerror or 'the host cannot be reached'}"
        case aiohttp.ClientPayloadError():
            problem = "the answer broke off before its end"
        case aiohttp.ClientResponseError():
            problem = "the answer is no valid HTTP"
        case _:
            problem = f"the connection failed ({type(error).__name__})"
    return problem
