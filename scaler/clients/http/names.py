"""Looks up host names with c-ares; slow name servers delay only the tenant that asks for their names."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiodns
import aiodns.error

from scaler.core.budget import Budget
from scaler.core.clock import Clock, SystemClock
from scaler.core.errors import Unavailable, let_go
from scaler.core.tenant import TENANT

AT_ONCE = 64
"""Concurrent look-ups; one tenant alone gets half of them."""
SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 30.0
"""Limits of the time that an answer is cached, whatever its TTL."""
FAILED_SECONDS = 5.0
"""How long a failed look-up is cached."""
MAX_KEPT, MAX_KEPT_ADDRESSES = 10_000, 50_000
"""Names with their answers, and addresses in these."""
MAX_NAME = 255
"""Characters of a name; longer ones are never asked for (RFC 1035)."""
MAX_ADDRESSES = 2_000
"""Of one name; a zone can have 6,000. One with more is a fault, or some would be left out silently."""
MAX_TRIED = 16
"""Addresses of one name that a client tries; asyncio's way of trying 1,000 takes 2.6 s of the processor."""
ASK_SECONDS, TRIES = 1.0, 2
"""Timeout of a name server, and the number of tries; the second has a longer timeout."""
RESOLVER_SECONDS = 1.0
"""A resolver is replaced after this time (0.3 ms), because c-ares caches answers for their whole TTL."""
_NO_SUCH_NAME = {aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_EBADNAME}


class NoAddress(Unavailable, OSError):  # noqa: N818 - a fault, see core/errors.py
    """A host name has no address, or cannot be looked up; also an `OSError`, which libraries expect."""


@dataclass(frozen=True, slots=True)
class _Kept:
    addresses: tuple[str, ...]
    until: float
    why_none: str = ""

    def addresses_of(self, host: str) -> tuple[str, ...]:
        if not self.addresses:
            raise NoAddress(f"{host}: {self.why_none}")
        return self.addresses


class Names:
    """Looks up names like the machine: /etc/hosts, then the name servers with search domains and `ndots`.

    Answers are cached for their TTL, between 2 and 30 s, failures for 5 s.
    """

    def __init__(self, clock: Clock | None = None, *, servers: Sequence[str] = ()) -> None:
        """Ask the name servers of the machine, or `servers` (HOST:PORT) instead."""
        self._clock, self._servers = clock or SystemClock(), tuple(servers)
        self._kept: dict[str, _Kept] = {}
        self._addresses = 0  # of all that are kept
        self._under_way: dict[tuple[str, str], asyncio.Task[_Kept]] = {}
        self._slots = Budget(AT_ONCE, "look-ups under way")
        self._resolver: aiodns.DNSResolver | None = None
        self._made_at = 0.0

    async def look_up(self, host: str, *, fresh: bool = False) -> tuple[str, ...]:
        """Return the addresses of `host`, at least one, IPv4 first; an address in any notation is returned as it is.

        `fresh` ignores the cache, but not a look-up that is under way. Raises `NoAddress`.
        """
        if len(host) > MAX_NAME:
            raise NoAddress(f"{host[:MAX_NAME]}…: the host name is too long")
        if (address := _address(host)) is not None:
            return (address,)
        kept = self._kept.get(host)
        if kept is not None and not fresh and self._clock.now() < kept.until:
            return kept.addresses_of(host)
        key = TENANT.get(), host  # by tenant too, because a tenant must not wait in the queue of another
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._ask(host))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return (await asyncio.shield(task)).addresses_of(host)

    def doubt(self, host: str) -> None:
        """Forget the addresses of `host`, because none could be connected to."""
        kept = self._kept.get(host)
        if kept is not None and kept.addresses:
            self._forget(host)

    async def _ask(self, host: str) -> _Kept:
        async with self._slots.hold(1):
            found = await self._resolved(host)
        self._forget(host)
        self._kept[host] = found
        self._addresses += len(found.addresses)
        while len(self._kept) > MAX_KEPT or self._addresses > MAX_KEPT_ADDRESSES:
            self._forget(next(iter(self._kept)))
        return found

    def _forget(self, host: str) -> None:
        if (kept := self._kept.pop(host, None)) is not None:
            self._addresses -= len(kept.addresses)

    async def _resolved(self, host: str) -> _Kept:
        resolver = self._current()  # kept alive here until it has answered, as it may be replaced meanwhile
        try:
            name = host.encode("ascii" if host.isascii() else "idna").decode()
            answer = await resolver.getaddrinfo(name, type=socket.SOCK_STREAM)
        except (aiodns.error.DNSError, UnicodeError) as error:
            let_go(error)
            unknown = isinstance(error, UnicodeError) or error.args[0] in _NO_SUCH_NAME
            why = "the host name has no address" if unknown else f"no name server answers ({error.args[1]})"
            return _Kept((), self._clock.now() + FAILED_SECONDS, why)
        if len(answer.nodes) > MAX_ADDRESSES:
            why = f"the host name has more than {MAX_ADDRESSES} addresses"
            return _Kept((), self._clock.now() + LONGEST_SECONDS, why)
        ttl = min([node.ttl for node in answer.nodes] + [cname.ttl for cname in answer.cnames], default=0)
        found = sorted(
            {node.addr[0].decode() for node in answer.nodes if node.family in {socket.AF_INET, socket.AF_INET6}},
            key=lambda address: (":" in address, address),
        )
        until = self._clock.now() + min(max(ttl, SHORTEST_SECONDS), LONGEST_SECONDS)
        return _Kept(tuple(found), until, "the host name has no address")

    def _current(self) -> aiodns.DNSResolver:
        now = self._clock.now()
        if self._resolver is None or now - self._made_at >= RESOLVER_SECONDS:
            self._made_at = now
            self._resolver = aiodns.DNSResolver(self._servers or None, timeout=ASK_SECONDS, tries=TRIES)
        return self._resolver

    async def close(self) -> None:
        """End the look-ups under way."""
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None


def _address(host: str) -> str | None:
    """Return the address that `host` spells, also in the old forms 127.1, 0x7f000001 and 2130706433 of IPv4."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(host))
    if re.fullmatch("[0-9a-fA-FxX.]+", host) and host[0].isdigit():
        with suppress(OSError):
            return socket.inet_ntoa(socket.inet_aton(host))
    return None


def of_one_family(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses of the family that has more, of equals IPv4: a dual-stack pod has one of each, and none is left out."""
    old = tuple(address for address in addresses if ":" not in address)
    new = tuple(address for address in addresses if ":" in address)
    return old if len(old) >= len(new) else new
