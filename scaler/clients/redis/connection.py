"""A connection to a Redis: its round trips are limited in time and size, and prove which server has answered."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from scaler.clients.redis import role as roles
from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.faults import Command
from scaler.clients.redis.link import CLIENT_NAME, Grow, Link, ignored
from scaler.clients.redis.role import Role
from scaler.clients.redis.server import address
from scaler.core.clock import Clock
from scaler.core.domain import Found, Proof
from scaler.core.errors import Fault, Unavailable

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.0
"""Timeout for all answers of one round trip together."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to; `named_by` says, for people, who has named it as the master; None if it is in the URL.

    `addresses` are the addresses of the host to try; if empty, all of them.
    """

    host: tuple[str, int]
    named_by: str | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """A server as it was seen last; `run_id` is Redis' id of its current run, empty if it is not known."""

    address: str
    run_id: bytes
    role: Role | None
    changed_at: float


class RedisConnection:
    """An open connection, authenticated and in its database."""

    def __init__(self, link: Link, dialer: Dialer, clock: Clock, target: Target) -> None:
        """Use `open` instead."""
        self._link, self._dialer, self._clock = link, dialer, clock
        self.target = target
        self.role: Role | None = None
        self.run_id = b""
        self.changed_at = -math.inf
        self._ask_role: Command | None = roles.ROLE  # None: not asked, or refused

    @classmethod
    async def open(
        cls,
        dialer: Dialer,
        clock: Clock,
        target: Target,
        *,
        protocol: int = 2,
        seconds: float = CONNECT_SECONDS,
    ) -> Self:
        """Connect to `target` within `seconds`; raises `Fault`."""
        url, link = dialer.url, None
        try:
            async with asyncio.timeout(seconds):
                password = dialer.secret(dialer.server.password_file, "passwordFile") or url.password
                link = await dialer.dial(target.host, seconds, target.addresses)
                await link.log_in(protocol, url.username if password else None, password)
                made = cls(link, dialer, clock, target)
                await made._introduce(protocol)
        except Exception as error:  # noqa: BLE001 - every error becomes a fault
            raise await dialer.explain(error, link, seconds) from None
        except BaseException:
            if link is not None:
                link.close()
            raise
        return made

    async def _introduce(self, protocol: int) -> None:
        """Select the database, and get the run id of the server; raises what Redis answers."""
        # An ACL may forbid to set the name, and that does not matter; but the answer shows whether Redis wants a
        # password.
        commands: list[Command] = [("CLIENT", "SETNAME", CLIENT_NAME)]
        if self._dialer.url.database:
            commands.append(("SELECT", self._dialer.url.database))
        if protocol == 2:
            commands.append(roles.INFO_SERVER)
        else:
            self._ask_role = None
        answers = dict(zip(commands, await self._link.round_trip(commands), strict=True))
        for command, answer in answers.items():
            if command[0] == "SELECT" and isinstance(answer, Exception):
                raise answer
        info = answers.get(roles.INFO_SERVER)
        self.run_id = roles.fields_of(info).get(b"run_id", b"")
        running = roles.running_seconds(info)
        if running is not None:
            self.changed_at = self._clock.now() - running

    def seen(self) -> Seen:
        """Return what is known of the server, to be kept beyond this connection."""
        return Seen(self.address, self.run_id, self.role, self.changed_at)

    def follow(self, before: Seen) -> None:
        """Compare with what was known `before` this connection: another server or another role counts as a change."""
        self.role = before.role
        other = not self.is_same_server(before)
        self.changed_at = max(self.changed_at, before.changed_at, self._clock.now() if other else -math.inf)

    def is_same_server(self, other: Seen) -> bool:
        """Tell whether this is the same run of the server as `other`, or without run ids the same address."""
        if self.run_id or other.run_id:
            return self.run_id == other.run_id
        return self.address == other.address

    @property
    def address(self) -> str:
        """The IP address of the server."""
        return self._link.host[0]

    async def ask(
        self, commands: Sequence[Command], *, seconds: float = ANSWER_SECONDS, grow: Grow = ignored
    ) -> list[Any]:
        """Send all `commands` at once and return their answers, in one round trip of at most `seconds`.

        If Redis answers a command with an error, that is returned as its answer; see `fault`. Everything else that goes
        wrong closes the connection and raises a `Fault`; also if the server is not a master, or a replica in step with
        one, both before and after these answers. `grow` is called with the memory that answers take, in bytes.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(commands, grow)
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise self._dialer.fault(error, seconds=seconds) from None
            raise

    async def _ask(self, commands: Sequence[Command], grow: Grow) -> list[Any]:
        if self._ask_role is None:
            self._know("unknown")
            return await self._link.round_trip(commands, grow)
        # Before, because a replica may get in step meanwhile; after, because a master may be demoted and emptied.
        link = [] if self.role == "master" else [roles.INFO_REPLICATION]  # else it is known with the next answer
        asked = [self._ask_role, *commands, self._ask_role, *link]
        before, *answers = await self._link.round_trip(asked, grow)
        after, *link_info = answers[len(commands) :]
        if roles.is_refused(before):
            self._ask_role = roles.INFO_REPLICATION if self._ask_role is roles.ROLE else None
            return await self._ask(commands, grow)
        first, second = self._judge(before), self._judge(after)
        if first != second:
            raise Unavailable("the server has changed its role meanwhile")
        if first == "replica" and link_info:
            roles.check_link(link_info[0])
        self._know(first)
        return answers[: len(commands)]

    def _judge(self, answer: Any) -> Role:
        if isinstance(answer, Exception):
            raise answer
        role = roles.judge_role(answer) if self._ask_role is roles.ROLE else roles.judge_info(answer)
        named_by = self.target.named_by
        if named_by is not None and role != "master":
            raise Unavailable(f"{named_by} as the master and it {roles.TOLD[role]}; a failover may be under way")
        return role

    def _know(self, role: Role) -> None:
        if self.role not in {None, role}:
            self.note_change()
        self.role = role

    def note_change(self) -> None:
        """Take note that the server is not as it was: what it holds now may not be what it held."""
        self.changed_at = self._clock.now()

    def found(self, value: Any, commands: int) -> Found:
        """Return `value`, made from the answers to `commands` commands, with its proof."""
        where = address(self.address, self.target.host[1])
        named = f", {self.target.named_by}" if self.target.named_by else ""
        whole = f"an answer to each of {commands} commands"
        return Found(value, Proof(whole, f"{where}{named}, {roles.TOLD[self.role or 'unknown']}"), self.changed_at)

    def fault(self, error: Exception, command: Command) -> Fault:
        """Return the fault for `error`, which Redis has answered to `command`."""
        return self._dialer.fault(error, command=command)

    async def invalidated(self) -> list[bytes] | None:
        """Wait for a message of client tracking, and return the changed keys; None means all.

        Closes the connection and raises a `Fault` when it is lost.
        """
        try:
            return await self._link.next_invalidation()
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise self._dialer.fault(error) from None
            raise

    def close(self) -> None:
        """Close it; closing twice does no harm."""
        self._link.close()
