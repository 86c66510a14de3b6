"""The errors of aiohttp, and what servers say of a wrong scheme, in words that name the cause."""

import os
import re
import ssl
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from scaler.clients.http.wire import FloodError
from scaler.core.errors import Fault, Refused, Unavailable, let_go

_ALERT = re.compile(r"_ALERT_([A-Z_]+)")
"""What the other side of a TLS connection has against it, in OpenSSL's words."""
SPEAKS_TLS = "this port speaks https"
_PLAIN_TO_TLS = (
    b"Client sent an HTTP request to an HTTPS server",  # net/http of Go
    b"The plain HTTP request was sent to HTTPS port",  # nginx
    b"speaking plain HTTP to an SSL-enabled server port",  # Apache
    b"requires TLS",  # Tomcat
)
"""How servers say it, with status 400 and without TLS."""


def unreachable(error: OSError) -> str:
    """Return why no connection was made; asyncio's own text has the address and not the reason."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or "the host cannot be reached"


def says_tls(body: bytes) -> bool:
    """Tell whether the body of an error says that the port speaks https."""
    return any(words in body for words in _PLAIN_TO_TLS)


@contextmanager
def faults(where: str, *, tls: bool = True, hint: str = "") -> Iterator[None]:
    """Turn errors of aiohttp into faults, without the URL and headers that aiohttp quotes.

    `tls` says whether TLS was used; `hint` is added to the fault for a refused certificate, or one that may be missing.
    """
    try:
        yield
    except (aiohttp.ClientError, OSError, zlib.error) as error:
        reason = getattr(let_go(error), "os_error", None)
        if isinstance(reason, Fault):  # of the look-up or the address guard
            raise (Refused if isinstance(reason, Refused) else Unavailable)(f"{where}: {reason}") from None
        raise Unavailable(f"{where}: {_problem(error, tls=tls, hint=hint)}") from None


def _problem(error: Exception, *, tls: bool, hint: str) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", None) or "it cannot be verified"
            problem = f"the TLS certificate is refused: {reason}{hint}"
        case aiohttp.ClientConnectorSSLError() if alert := _ALERT.search(str(error.os_error)):
            name = alert[1].replace("_", " ").lower()
            problem = f"the server refuses the TLS handshake ({name}); does it ask for a client certificate?{hint}"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            problem = "no TLS connection; does the server speak https on this port?"
        case aiohttp.ClientConnectorError() if tls and isinstance(error.os_error, ConnectionResetError):
            problem = f"the TLS handshake was cut off; does the server ask for a client certificate?{hint}"
        case aiohttp.ClientConnectorError():
            problem = f"no connection: {unreachable(error.os_error)}"
        case FloodError():
            problem = "the answer has more around its body (heads, what is between chunks) than in it"
        case aiohttp.ClientPayloadError():
            problem = "the answer broke off before its end"
        case aiohttp.ClientResponseError():
            problem = "the answer is no valid HTTP" + ("" if tls else "; is it a port that speaks https?")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            asks = "; does the server ask for a client certificate?" if hint else ""
            problem = "the connection was closed before the answer" + (
                f"{asks}{hint}" if tls else "; does the port speak https?"
            )
        case _:
            problem = f"the connection failed ({type(error).__name__})"
    return problem
