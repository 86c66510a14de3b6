"""Faults of requests to the Kubernetes API; each says what to do."""

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from scaler.clients.http.problems import SPEAKS_TLS, says_tls, unreachable
from scaler.clients.kubernetes.json_stream import decode_document
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.core.errors import Fault, Refused, Throttled, Unavailable

MAX_PAUSE_SECONDS = 60.0


class NotFoundError(Refused):
    """The API does not know the path: the resource is not installed, or not in this version."""


class DeniedError(Refused):
    """The credentials are not accepted, or lack a right."""


class ExpiredError(Unavailable):
    """The API does not have the resource version any more, or not yet: list again."""


class GarbledError(Unavailable):
    """The answer cannot be parsed, so the part of it before the error cannot be trusted either."""


class BusyError(Throttled):
    """The API has too many requests, and asks for a pause."""

    def __init__(self, message: str, pause_seconds: float = 1.0) -> None:
        super().__init__(message, pause_seconds)  # all in `args`, so that a copy is equal
        self.pause_seconds = pause_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class ConflictError(Unavailable):
    """The object has changed meanwhile, or is a newer one of the same name: read it again before writing."""


def refusal(status: int, headers: Mapping[str, str], message: str, what: str, verbs: str = "list and watch") -> Fault:
    """Return the fault for an answer with another `status` than 200 to the request `what`; `message` is the server's.

    `verbs` are the RBAC verbs that the request needs.
    """
    detail = f"({status})" + (f": {message}" if message else "")
    if status == 410 or "too large resource version" in message.lower():  # "too large" after a restore of etcd
        return ExpiredError(f"{what}: the resource version expired {detail}")
    if status == 429:
        asked = headers.get("Retry-After", "")
        pause = min(MAX_PAUSE_SECONDS, float(asked)) if asked.isdecimal() else 1.0
        return BusyError(f"{what}: too many requests {detail}", pause)
    if status == 422 and "metadata.uid" in message:  # there is a newer object of the same name
        status = 409
    kinds: dict[int, tuple[type[Fault], str]] = {
        401: (
            DeniedError,
            f"the credentials are not accepted {detail}; check the token or certificate (kubernetes.url has none)",
        ),
        403: (DeniedError, f"not allowed {detail}; grant the RBAC verbs {verbs} on it"),
        404: (NotFoundError, f"not found {detail}"),
        409: (ConflictError, f"conflict {detail}"),
    }
    kind, said = kinds.get(status, (Refused if 400 <= status < 500 else Unavailable, f"failed {detail}"))
    return kind(f"{what}: {said}")


def trouble(error: Exception) -> str:
    """Return why a request got no complete answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = getattr(cause, "verify_message", "") or type(cause).__name__
        return (
            f"its certificate is not trusted ({why}); in a kubeconfig certificate-authority says which CA counts, and "
            "tls-server-name which host name (kubernetes.url has neither)"
        )
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        why = getattr(getattr(error, "os_error", error), "reason", None) or type(error).__name__
        return f"TLS failed ({why}); check http against https, and the client certificate"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({unreachable(error.os_error)})"
    return f"the connection broke off ({type(error).__name__})"


def message_of(body: bytes) -> str:
    """Return the shortened message of the `Status` in `body`, "" if it is none."""
    if says_tls(body):
        return f"{SPEAKS_TLS}; write https:// for http:// in its address"
    try:
        message = decode_document(body).get("message")
    except BadAnswerError:
        return ""
    return _shortened(message)


def error_event(status: Mapping[str, Any], what: str) -> Fault:
    """Return the fault for a `Status` that came as an event of a watch."""
    code = status.get("code")
    return refusal(code if isinstance(code, int) else 500, {}, _shortened(status.get("message")), what)


def _shortened(message: Any) -> str:
    return " ".join(message.split())[:300] if isinstance(message, str) else ""
