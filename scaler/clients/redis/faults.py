"""What the errors of a Redis mean: redis-py's exceptions and Redis' own texts as faults that say what to do."""

import re
import socket
from collections.abc import Iterable
from itertools import takewhile

from redis import exceptions as errors

from scaler.core.errors import Fault, Refused, Throttled, Unavailable

Command = tuple[str | bytes | int | float, ...]

MAX_TEXT = 300
RIGHTS = "the source's documentation"
MAX_QUOTED = 2_000
HIDDEN = "***"
_BEGINNING, _PART = 4, 6

_DENIED = "the Redis user may not run {command}; give it the access rules of {rights}"
_LOGIN_WANTED = "Redis asks for a password; put it into the URL or passwordFile"
_CLUSTER = "this is a Redis Cluster, which is not supported; use a Redis without cluster mode"
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
    (errors.ResponseError, "DB index", Refused, "Redis has no such database: {text}"),
    (errors.ResponseError, "max requests limit", Throttled, "Redis answers: {text}"),  # Upstash counts requests
    (errors.ResponseError, "", Unavailable, "Redis answers: {text}"),
    ((TimeoutError, errors.TimeoutError), "", Unavailable, "no answer within {seconds:g} s"),
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
    secrets = [secret for secret in secrets if secret]
    text = str(error)[:MAX_QUOTED] or type(error).__name__
    if isinstance(error, Fault):  # in our words, which need not be looked through for parts
        kind, told = type(error), _without(text, secrets)
    else:
        text = cleaned(text, secrets)
        kind, form = next(
            (kind, form) for types, part, kind, form in _TABLE if isinstance(error, types) and part in text
        )
        told = form.format(
            text=text, command=_shown(command, text), seconds=seconds, name=type(error).__name__, rights=rights
        )
    told = "".join(character if character.isprintable() else " " for character in told)
    return kind(f"{where}: {told[:MAX_TEXT]}")


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def cleaned(text: str, secrets: Iterable[str]) -> str:
    """Return what a server said without any of `secrets`, however it was cut, escaped or split.

    Hidden are the beginning of a secret from `_BEGINNING` characters on, and whatever else `_PART` of them in a row
    are found in; a secret shorter than that where it stands whole.
    """
    hidden = bytearray(len(text))
    for secret in secrets:
        beginning = secret[:_BEGINNING]
        parts = {secret[at : at + _PART] for at in range(len(secret) - _PART + 1)}
        for at in range(len(text)):
            if text[at : at + _PART] in parts:
                hidden[at : at + _PART] = b"\1" * len(text[at : at + _PART])
            if text.startswith(beginning, at):
                length = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(text[at:], secret, strict=False))))
                hidden[at : at + length] = b"\1" * length
    return re.sub("\0+", HIDDEN, "".join("\0" if hide else text[at] for at, hide in enumerate(hidden)))


def _shown(command: Command, text: str) -> str:
    """Return the command and its key, or what the error says of it."""
    if command:
        return " ".join(
            part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in command[:2]
        )
    match = re.search(r"run the '([^']{1,40})' command", text)
    return match[1].upper() if match else "a command that it needs"
