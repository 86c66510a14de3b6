"""The role of a Redis server (master, or replica in step with its master), and how long it has been running."""

import re
from typing import Any, Literal

from scaler.clients.redis.faults import Command
from scaler.clients.redis.resp import RedisError, TooLongError
from scaler.core.errors import Unavailable

Role = Literal["master", "replica", "unknown"]

ROLE: Command = ("ROLE",)
INFO_REPLICATION: Command = ("INFO", "replication")
INFO_SERVER: Command = ("INFO", "server")

SILENT_SECONDS = 30
"""For so long a replica may hear nothing: three pings of its master missed."""

TOLD: dict[Role, str] = {
    "master": "says that it is the master",
    "replica": "says that it is a replica in step with its master",
    "unknown": "does not tell its role: ROLE and INFO replication are refused (grant +role)",
}
"""The words for people."""
_REPLICAS = {b"slave", b"replica", b"active-replica"}  # Redis and Valkey; Dragonfly; KeyDB
_IN_STEP = {b"connected", b"online", b"stable_sync"}  # Redis, Valkey and KeyDB (`replicationGetSlaveName`); Dragonfly
_REFUSED = re.compile("(unknown|unsupported) command|not (supported|allowed|available)", re.IGNORECASE)


def is_refused(answer: Any) -> bool:
    """Tell whether the server forbids the command, as ACLs, hosted services and proxies do."""
    return isinstance(answer, RedisError) and (answer.code == "NOPERM" or _REFUSED.search(str(answer)) is not None)


def judge_role(answer: Any) -> Role:
    """Return the role in the answer to `ROLE`; raises `Unavailable` for a replica that is not in step with its master.

    A replica is `connected` only when it has its master's data; before that it is `connect`, `connecting` or `sync`.
    """
    match answer:
        case [b"master", *_]:
            return "master"
        case [kind, bytes(master), _, bytes(state), *_] if kind in _REPLICAS:
            if state in _IN_STEP:
                return "replica"
            raise Unavailable(_out_of_step(master, f"its link is {_word(state)}"))
        case [b"sentinel", *_]:
            raise Unavailable("this is a Sentinel; a URL with redis+sentinel:// is meant for it")
    raise Unavailable("an answer to ROLE that cannot be understood")


def judge_info(answer: Any) -> Role:
    """Return the role in the answer to `INFO replication`; raises `Unavailable` as `judge_role` does."""
    fields = fields_of(answer)
    match fields.get(b"role"):
        case b"master":
            return "master"
        case kind if kind in _REPLICAS:
            state = fields.get(b"master_link_status", b"unknown")
            if fields.get(b"master_sync_in_progress", b"0") != b"0":
                state = b"sync"
            if state == b"up":
                return "replica"
            raise Unavailable(_out_of_step(fields.get(b"master_host", b"?"), f"its link is {_word(state)}"))
    raise Unavailable("an answer to INFO replication that cannot be understood")


def check_link(info: Any) -> None:
    """Raise `Unavailable` unless a replica has heard from its master lately, by its `INFO replication`.

    A link that was cut without a word is up for `repl-timeout` (60 s), and that of a replica of a replica says nothing of
    what is beyond it. But masters ping (`repl-ping-replica-period`, 10 s), and replicas hand that on. Where `INFO` is
    refused or does not say, nothing is known. Raises `TooLongError` too, if it was left out.
    """
    if isinstance(info, TooLongError):
        raise info
    seconds = fields_of(info).get(b"master_last_io_seconds_ago", b"")
    if seconds.isdigit() and int(seconds[:12]) > SILENT_SECONDS:
        master = fields_of(info).get(b"master_host", b"?")
        raise Unavailable(_out_of_step(master, f"it has heard nothing from there for {_word(seconds)} s"))


def _out_of_step(master: bytes, why: str) -> str:
    return f"this is a replica that is not in step with its master {_word(master)}: {why}"


def _word(value: bytes) -> str:
    return value.decode("ascii", "replace")[:64]


def fields_of(info: Any) -> dict[bytes, bytes]:
    """Return the fields of an answer to `INFO`; none if it is not a text."""
    lines: list[bytes] = info.splitlines() if isinstance(info, bytes) else []
    return {name: value for name, colon, value in (line.partition(b":") for line in lines) if colon}


def running_seconds(info: Any) -> int | None:
    """Return the uptime in an answer to `INFO server`, in seconds, or None."""
    value = fields_of(info).get(b"uptime_in_seconds", b"")
    return int(value) if value.isdigit() and len(value) <= 12 else None
