"""Fetches one HTTP answer, streamed and limited in size and time; every error becomes a fault."""

import asyncio
import re
import ssl
import string
import unicodedata
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from scaler.clients.http.problems import SPEAKS_TLS, faults, says_tls
from scaler.clients.http.quoting import quoted, secrets_of
from scaler.core.clock import Clock
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.core.turns import rest

MAX_REDIRECTS = 3
MAX_ERROR_BYTES = 64 * 1024
MAX_AGE_SECONDS = 15.0
"""An older answer of a cache is a fault, because a reading counts as true now."""
MAX_URL = 8_000
MAX_HOST, MAX_LABEL = 253, 63
"""Characters of a host name and of its parts (RFC 1035). 8,000 of those that Unicode folds into many took 600 ms to encode."""
_HOST = re.compile(r"(?:[^:/?#]*:)?//(?:[^/?#]*@)?([^/?#@]*)")
PIECE_BYTES = 4 * 1024
"""Bytes passed on at once; other tasks may run between two pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to send. `where` names it in messages; neither it nor `url` may contain a secret."""

    url: URL
    where: str
    max_bytes: int  # of the decompressed body
    address: str | None = None  # to connect to; the Host header and TLS use the name in `url`
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)  # besides those in `Authorization`
    form: Mapping[str, str] | None = None  # if set, it is sent by POST
    tls: ssl.SSLContext | bool = True
    server_name: str | None = None  # the certificate must be for it, instead of the host in `url`
    quotes: bool = False  # whether a fault may quote the error text of the server
    hint: str = ""  # added to a fault about a certificate or credentials
    hop: "Callable[[URL], Request] | None" = None
    """Called for every redirect: returns the next request, with its own credentials, or raises `Fault`.

    Without it a redirect is followed only within its origin (scheme, host and port).
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and content type of an answer; `end` says what has proved its body complete, "" if nothing has.

    A body without length and chunks ends with its connection, which may also have been cut; only the caller can see in
    the body whether that was its end.
    """

    status: int
    content_type: str
    end: str


def checked_url(url: str) -> str:
    """Return `url` if `fetch` accepts it; raises `ValueError` that says what is allowed, without the URL."""
    if len(url) > MAX_URL:
        raise ValueError(f"a URL of at most {MAX_URL} characters")
    try:
        usable = url.isprintable() and " " not in url and _has_host(url) and URL(url).scheme in {"http", "https"}
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    return url


def _has_host(url: str) -> bool:
    """Tell whether `url` has a host that is short enough to be encoded; `URL` does that at once."""
    found = _HOST.match(url)
    if found is None or len(found[1]) > MAX_HOST + len(":65535"):
        return False
    if found[1].startswith("["):
        return True
    host = unicodedata.normalize("NFKC", found[1]).partition(":")[0]
    return bool(host) and len(host) <= MAX_HOST and max(map(len, host.split("."))) <= MAX_LABEL


def without_credentials(url: str) -> tuple[URL, dict[str, str]]:
    """Return `url` without user name, password and fragment, and the headers with those credentials."""
    whole = URL(url)
    if whole.user is None and whole.password is None:
        return whole.with_fragment(None), {}
    login = b64encode(f"{whole.user or ''}:{whole.password or ''}".encode()).decode()
    return whole.with_user(None).with_fragment(None), {"Authorization": f"Basic {login}"}


def shown(url: URL) -> str:
    """Return `url` for messages, without credentials and the query, which may have a token."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


@asynccontextmanager
async def deadline(clock: Clock, seconds: float, where: str) -> AsyncIterator[None]:
    """Raise `Unavailable` for `where` if the block takes longer than `seconds` of `clock`."""
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


async def fetch(
    session: aiohttp.ClientSession,
    request: Request,
    take: Callable[[bytes], None],
) -> Answer:
    """Pass the body of the answer to `take` in pieces, and return when it has ended; raises `Fault`.

    A redirect to another host or from https to http is never followed; `Request.hop` decides about others. Status 429
    is `Throttled`, other 4xx are `Refused`, the rest is `Unavailable`.
    """
    with faults(request.where, tls=request.url.scheme == "https", hint=request.hint):
        for _ in range(MAX_REDIRECTS + 1):
            async with _open(session, request) as response:
                if response.status in {301, 302, 303, 307, 308}:
                    request = _redirected(request, response.headers.get("Location", ""))
                    continue
                if response.status != 200:
                    raise _status_fault(response.status, request, await _said(response, request))
                _check_age(response, request)
                end = await _stream(response, request, take)
                return Answer(response.status, response.headers.get("Content-Type", "").lower(), end)
    raise Unavailable(f"{request.where}: more than {MAX_REDIRECTS} redirects")


def _open(session: aiohttp.ClientSession, request: Request) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    url, name = request.url, request.server_name
    headers = {"Accept-Encoding": "gzip", "Cache-Control": "no-cache", **request.headers}
    if request.address is not None:
        headers["Host"] = url.host_port_subcomponent or ""
        name = name or url.raw_host
        url = url.with_host(request.address)
    return session.request(
        "GET" if request.form is None else "POST",
        url,
        headers=headers,
        data=request.form,
        ssl=request.tls,
        server_hostname=name if url.scheme == "https" else None,
        allow_redirects=False,
        auto_decompress=False,  # aiohttp does not notice that a compressed body was cut off
    )


def _redirected(request: Request, location: str) -> Request:
    where = request.where
    try:
        # In ASCII, as a header should be: a long host in other characters would take as long here, see `MAX_HOST`.
        target = request.url.join(URL(quote(location, safe=string.punctuation))).with_fragment(None)
    except ValueError:
        target = URL()
    if target.scheme not in {"http", "https"} or target.host != request.url.host or target.user is not None:
        raise Unavailable(f"{where}: redirects to another host, which is not followed; give the address that it means")
    if (request.url.scheme, target.scheme) == ("https", "http"):
        raise Unavailable(f"{where}: redirects from https to http, which is not followed")
    if request.hop is not None:
        return request.hop(target)
    if target.origin() != request.url.origin():
        raise Unavailable(f"{where}: redirects to {target.origin()}, which is not followed; give the address itself")
    return replace(request, url=target)


def _status_fault(status: int, request: Request, said: str) -> Fault:
    where, quote = request.where, f"; the server says {said!r}" if said else ""
    match status:
        case 400 if said == SPEAKS_TLS:
            return Refused(f"{where}: {SPEAKS_TLS}, and the URL says http")
        case 401 | 403:
            return Refused(
                f"{where}: HTTP {status}, the server refuses the scaler's credentials or asks for some"
                f"{request.hint}{quote}"
            )
        case 404:
            return Refused(f"{where}: HTTP 404, there is nothing under this path{quote}")
        case 429:
            return Throttled(f"{where}: HTTP 429, the server asks to be asked less often{quote}")
        case _ if 400 <= status < 500:
            return Refused(f"{where}: HTTP {status}{quote}")
        case _:
            return Unavailable(f"{where}: HTTP {status}{quote}")


def _check_age(response: aiohttp.ClientResponse, request: Request) -> None:
    """Raise `Unavailable` for what a cache on the way has kept too long (RFC 9111, 5.1): one may ignore `no-cache`."""
    for age in map(str.strip, response.headers.getall("Age", ())):
        if not (age.isascii() and age.isdigit()) or int(age[:12]) > MAX_AGE_SECONDS:
            raise Unavailable(  # without the value, which may be a secret of the request
                f"{request.where}: a cache answers with what is more than {MAX_AGE_SECONDS:g} s old, or of an unknown age; "
                "let this path pass it by, or name the server itself"
            )


async def _said(response: aiohttp.ClientResponse, request: Request) -> str:
    """Return the error text of the server without secrets; if it may not be quoted, only `SPEAKS_TLS` or ""."""
    body = bytearray()
    # If the error text cannot be read completely, the status alone is reported.
    with suppress(Unavailable, aiohttp.ClientError, OSError, zlib.error):
        await _stream(response, replace(request, max_bytes=MAX_ERROR_BYTES), body.extend)
    if response.status == 400 and says_tls(bytes(body)):
        return SPEAKS_TLS
    return quoted(bytes(body), (*request.secrets, *secrets_of(request.headers))) if request.quotes else ""


async def _stream(
    response: aiohttp.ClientResponse,
    request: Request,
    take: Callable[[bytes], None],
) -> str:
    encoding = ", ".join(response.headers.getall("Content-Encoding", ("identity",))).lower()
    if encoding not in {"identity", "gzip"}:
        raise Unavailable(f"{request.where}: answers in an encoding that was not asked for; gzip or none is understood")
    unpacker = _Gzip(request.where) if encoding == "gzip" else None
    size = came = 0
    async for chunk in response.content.iter_any():
        for piece in _cut(chunk) if unpacker is None else unpacker.pieces(chunk):
            size += len(piece)
            if size > request.max_bytes:
                raise Unavailable(
                    f"{request.where}: the answer is larger than {request.max_bytes} bytes, which is the limit"
                )
            if size > PIECE_BYTES:  # a part of something long
                await rest()
            take(piece)
        came += len(chunk)
        if came > size + PIECE_BYTES:  # compressed bytes that hold nothing
            if came > request.max_bytes:
                raise Unavailable(f"{request.where}: {came} compressed bytes hold {size}, and more follow")
            await rest()
    if unpacker is not None:
        unpacker.end()
    return _end(response.headers, packed=unpacker is not None)


def _end(headers: CIMultiDictProxy[str], *, packed: bool) -> str:
    """Return what has proved that the body of an answer with `headers` is complete; aiohttp has checked it."""
    codings = ",".join(headers.getall("Transfer-Encoding", ())).lower().split(",")
    if codings[-1].strip() == "chunked":
        return "its last chunk"
    if "Content-Length" in headers:
        return "its length"
    return "its checksum" if packed else ""


def _cut(chunk: bytes) -> Iterator[bytes]:
    for start in range(0, len(chunk), PIECE_BYTES):
        yield chunk[start : start + PIECE_BYTES]


class _Gzip:
    """Decompresses one gzip member, in pieces of at most `PIECE_BYTES`, however far a chunk expands."""

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
