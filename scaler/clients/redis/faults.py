"""What the errors of a Redis mean: redis-py's exceptions and Redis' own texts as faults that say what to do."""

import re
import socket
import ssl
from collections.abc import Iterable

from redis import exceptions as errors

from scaler.clients.http.quoting import MASK, SHORTEST_SECRET, quoted
from scaler.clients.redis.resp import TooLongError
from scaler.core.errors import Fault, Refused, Throttled, Unavailable

Command = tuple[str | bytes | int | float, ...]

MAX_TEXT = 300
RIGHTS = "the source's documentation"

_DENIED = "the Redis user may not run {command}; give it the access rules of {rights}"
_LOGIN_WANTED = "Redis asks for a password; put it into the URL or passwordFile"
_CLUSTER = "this is a Redis Cluster, which is not supported; use a Redis without cluster mode"
ASKS = "; if it asks for a client certificate, a connection under `redis` of the configuration has certFile for one"
_TABLE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, type[Fault], str], ...] = (
    # exception of redis-py, what its text has in it, the fault, its text; the first that fits counts
    (errors.NoPermissionError, "", Refused, _DENIED),
    (errors.AuthenticationError, "required", Refused, _LOGIN_WANTED),
    (errors.AuthenticationError, "HELLO must be called", Refused, _LOGIN_WANTED),
    (
        (errors.AuthenticationError, errors.AuthenticationWrongNumberOfArgsError),
        "",
        Refused,
        "Redis refuses the user name or password; check the URL and passwordFile",
    ),
    (errors.MasterDownError, "", Unavailable, "Redis answers: {text}"),  # of redis-py a kind of ClusterDownError
    ((errors.MovedError, errors.AskError, errors.ClusterDownError), "", Refused, _CLUSTER),
    (errors.ClusterCrossSlotError, "", Refused, _CLUSTER),
    (errors.BusyLoadingError, "", Unavailable, "Redis is loading its data"),
    (
        errors.ResponseError,
        "WRONGTYPE",
        Refused,
        "{command}: the key holds something else; check the names in the metadata and the database",
    ),
    (TooLongError, "", Unavailable, "{command}: {text}, which is not read"),
    (errors.ResponseError, "DB index", Refused, "Redis has no such database: {text}"),
    (errors.ResponseError, "max requests limit", Throttled, "Redis answers: {text}"),  # Upstash counts requests
    (errors.ResponseError, "", Unavailable, "Redis answers: {text}"),
    ((TimeoutError, errors.TimeoutError), "", Unavailable, "no answer within {seconds:g} s"),
    (
        ssl.SSLCertVerificationError,
        "",
        Unavailable,
        "the TLS certificate is refused ({text}); a connection under `redis` of the configuration has caFile for it",
    ),
    (ssl.SSLError, "_ALERT_", Unavailable, f"the server refuses the TLS handshake ({{text}}){ASKS}"),
    (socket.gaierror, "", Unavailable, "the host name cannot be resolved"),
    ((errors.ConnectionError, OSError), "", Unavailable, "{text}"),
    (BaseException, "", Unavailable, "an answer that cannot be understood ({name})"),
)


def fault_of(  # noqa: PLR0913 - all but the first two are words of its text
    error: BaseException,
    where: str,
    *,
    command: Command = (),
    seconds: float = 0.0,
    secrets: Iterable[str] = (),
    rights: str = RIGHTS,
) -> Fault:
    """Return `error`, of redis-py or of the network, as a fault at `where`.

    `command` is what Redis answered it to, `seconds` how long was waited, `rights` where
    the access rules are written that Redis needs. No text holds one of `secrets` or a part of
    one: Redis quotes the arguments of a command that it does not know, those of `AUTH` among them, and cuts them off.
    """
    secrets = sorted(filter(None, secrets), key=len, reverse=True)
    text = str(error) or type(error).__name__
    if isinstance(error, Fault):  # in our words, of which a short secret may be a part
        kind, told = type(error), _without(text, (secret for secret in secrets if len(secret) >= SHORTEST_SECRET))
    else:
        kind, form = next(
            (kind, form) for types, part, kind, form in _TABLE if isinstance(error, types) and part in text
        )
        said = _without(quoted(text.encode(), secrets), secrets)
        told = form.format(
            text=said, command=_shown(command, said), seconds=seconds, name=type(error).__name__, rights=rights
        )
    told = "".join(character if character.isprintable() else " " for character in told)
    return kind(f"{where}: {told[:MAX_TEXT]}")


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _shown(command: Command, text: str) -> str:
    """Return the command and its key, or what the error says of it."""
    if command:
        return " ".join(
            part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in command[:2]
        )
    match = re.search(r"run the '([^']{1,40})' command", text)
    return match[1].upper() if match else "a command that it needs"
