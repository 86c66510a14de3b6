"""What went wrong with a request to the Kubernetes API, as the fault that says what to do."""

import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp

from scaler.clients.kubernetes.json_stream import decode_document
from scaler.clients.kubernetes.json_text import BadAnswerError
from scaler.core.errors import Fault, Refused, Throttled, Unavailable

MAX_PAUSE_SECONDS = 60.0


class NotFoundError(Refused):
    """The path is unknown to the API: the resource is not installed, or no longer in that version."""


class DeniedError(Refused):
    """The identity is not accepted, or may not do this."""


class ExpiredError(Unavailable):
    """The API no longer has, or does not have yet, the resource version that was asked for: list again."""


class GarbledError(Unavailable):
    """The API answered what cannot be understood: what came before it on the same way is not to be trusted either."""


class BusyError(Throttled):
    """The API asked for a pause."""

    def __init__(self, message: str, pause_seconds: float = 1.0) -> None:
        super().__init__(message, pause_seconds)  # all of it in `args`, so that a copy is the same
        self.pause_seconds = pause_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class ConflictError(Unavailable):
    """The object was changed at the same time, or is another one of that name: look again before writing."""


def refusal(status: int, headers: Mapping[str, str], message: str, what: str, verbs: str = "list and watch") -> Fault:
    """Return the fault for an answer of `status` other than 200 to the request `what`; `message` is the server's.

    `verbs` are those of RBAC that the request needs.
    """
    told = f"({status})" + (f": {message}" if message else "")
    if status == 410 or "too large resource version" in message.lower():  # the latter after a restore of etcd
        return ExpiredError(f"{what}: the resource version expired {told}")
    if status == 429:
        asked = headers.get("Retry-After", "")
        pause = min(MAX_PAUSE_SECONDS, float(asked)) if asked.isdecimal() else 1.0
        return BusyError(f"{what}: too many requests {told}", pause)
    if status == 422 and "metadata.uid" in message:  # how it says that another object has taken the name
        status = 409
    kinds: dict[int, tuple[type[Fault], str]] = {
        401: (DeniedError, f"the credentials are not accepted {told}; check the token or the certificate"),
        403: (DeniedError, f"not allowed {told}; grant the RBAC verbs {verbs} on it"),
        404: (NotFoundError, f"not found {told}"),
        409: (ConflictError, f"conflict {told}"),
    }
    kind, said = kinds.get(status, (Refused if 400 <= status < 500 else Unavailable, f"failed {told}"))
    return kind(f"{what}: {said}")


def trouble(error: Exception) -> str:
    """Return in words why a request got no whole answer."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = getattr(cause, "verify_message", "") or type(cause).__name__
        return f"its certificate is not trusted ({why}); check the CA and the host name of the configuration"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        why = getattr(error, "reason", None) or type(error).__name__
        return f"TLS failed ({why}); check http against https, and the client certificate"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect ({error.os_error.strerror or type(error.os_error).__name__})"
    return f"the connection broke off ({type(error).__name__})"


def message_of(body: bytes) -> str:
    """Return the text of the `Status` that `body` is, shortened, or nothing."""
    try:
        message = decode_document(body).get("message")
    except BadAnswerError:
        return ""
    return _shortened(message)


def error_event(status: Mapping[str, Any], what: str) -> Fault:
    """Return the fault for a `Status` that came as an event of the watch `what`."""
    code = status.get("code")
    return refusal(code if isinstance(code, int) else 500, {}, _shortened(status.get("message")), what)


def _shortened(message: Any) -> str:
    return " ".join(message.split())[:300] if isinstance(message, str) else ""
