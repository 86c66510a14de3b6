"""Turns errors of Redis and of the network into faults that say what to do."""

import re
import socket
import ssl
from collections.abc import Iterable

from scaler.clients.http.problems import unreachable
from scaler.clients.http.quoting import MASK, SHORTEST_SECRET, quoted
from scaler.clients.redis.resp import LOGIN_REFUSED, RedisError, TooLongError
from scaler.core.errors import Fault, Refused, Throttled, Unavailable

Command = tuple[str | bytes | int | float, ...]

MAX_TEXT = 300
RIGHTS = "the source's documentation"

_DENIED = "the Redis user may not run {command}; give it the access rules of {rights}"
_LOGIN_WANTED = "Redis asks for a password; put it into the URL or passwordFile"
_CLUSTER = "this is a Redis Cluster, which is not supported; use a Redis without cluster mode"
ASKS = "; if it asks for a client certificate, a connection under `redis` of the configuration has certFile for one"
_REPLIES: tuple[tuple[re.Pattern[str], type[Fault], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, form)
    for pattern, kind, form in (
        # the beginning of what Redis answers, class of the fault, text of the fault; the first match is used
        (r"NOPERM\b", Refused, _DENIED),
        (r"NOAUTH\b", Refused, _LOGIN_WANTED),
        (LOGIN_REFUSED, Refused, "Redis refuses the user name or password; check the URL and passwordFile"),
        (r"(MOVED|ASK|CLUSTERDOWN|CROSSSLOT)\b", Refused, _CLUSTER),
        (r"LOADING\b", Unavailable, "Redis is loading its data"),
        (
            r"WRONGTYPE\b",
            Refused,
            "{command}: the key holds something else; check the names in the metadata and the database",
        ),
        (r"ERR .*DB index", Refused, "Redis has no such database: {text}"),
        (r"ERR .*max requests limit", Throttled, "Redis answers: {text}"),  # Upstash counts requests
        ("", Unavailable, "Redis answers: {text}"),
    )
)
_FAILURES: tuple[tuple[type[BaseException], str, str], ...] = (
    # exception, a part of its text, text of the fault; the first match is used
    (TimeoutError, "", "no answer within {seconds:g} s"),
    (
        ssl.SSLCertVerificationError,
        "",
        "the TLS certificate is refused ({text}); a connection under `redis` of the configuration has caFile for it",
    ),
    (ssl.SSLError, "_ALERT_", f"the server refuses the TLS handshake ({{text}}){ASKS}"),
    (socket.gaierror, "", "the host name cannot be resolved"),
    (OSError, "", "{text}"),
    (BaseException, "", "an answer that cannot be understood ({name})"),
)


def _kind_and_form(error: BaseException, text: str) -> tuple[type[Fault], str]:
    if isinstance(error, TooLongError):
        return Unavailable, "{command}: {text}, which is not read"
    if isinstance(error, RedisError):
        return next((kind, form) for pattern, kind, form in _REPLIES if pattern.match(text))
    return Unavailable, next(form for kind, part, form in _FAILURES if isinstance(error, kind) and part in text)


def fault_of(  # noqa: PLR0913 - all but the first two are words of its text
    error: BaseException,
    where: str,
    *,
    command: Command = (),
    seconds: float = 0.0,
    secrets: Iterable[str] = (),
    rights: str = RIGHTS,
) -> Fault:
    """Return the fault at `where` for `error`, of Redis or of the network.

    `command` is the command with this answer, `seconds` the time waited, `rights` the documentation of the needed ACL
    rules. The text contains no part of `secrets`: Redis quotes, and cuts off, the arguments of a command that it does
    not know, also those of `AUTH`.
    """
    secrets = sorted(filter(None, secrets), key=len, reverse=True)
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        text = unreachable(error)
    if isinstance(error, Fault):  # our own text, in which a short secret may occur by chance
        kind, message = type(error), _without(text, (secret for secret in secrets if len(secret) >= SHORTEST_SECRET))
    else:
        kind, form = _kind_and_form(error, text)
        said = _without(quoted(text.removeprefix("ERR ").encode(), secrets), secrets)
        message = form.format(
            text=said, command=_shown(command, said), seconds=seconds, name=type(error).__name__, rights=rights
        )
    message = "".join(character if character.isprintable() else " " for character in message)
    return kind(f"{where}: {message[:MAX_TEXT]}")


def _without(text: str, secrets: Iterable[str]) -> str:
    """Mask `secrets` in upper and lower case: a Sentinel may name its password as a host, which is written in lower case."""
    for secret in secrets:
        text = re.sub(re.escape(secret), MASK, text, flags=re.IGNORECASE)
    return text


def _shown(command: Command, text: str) -> str:
    """Return the command and its key, or the command in the error text."""
    if command:
        return " ".join(
            part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in command[:2]
        )
    match = re.search(r"run the '([^']{1,40})' command", text)
    return match[1].upper() if match else "a command that it needs"
