"""Asks the Sentinels for the master at every read, because a replaced master may still call itself a master."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.link import Link
from scaler.clients.redis.server import address, checked_host
from scaler.core.clock import Clock
from scaler.core.errors import Fault, Refused, Unavailable

SENTINEL_SECONDS = 0.6
"""Timeout of each Sentinel; all are asked concurrently."""
PAUSE_SECONDS = 10.0
"""Pause before a failed Sentinel is asked again, while others answer."""
NO_EPOCH = -1


@dataclass(frozen=True, slots=True)
class Named:
    """The answer of a Sentinel: the master's host, and the config epoch (the number of the last failover)."""

    host: tuple[str, int]
    epoch: int = NO_EPOCH


class Sentinels:
    """Keeps a connection to each Sentinel in a URL."""

    def __init__(self, dialer: Dialer, clock: Clock) -> None:
        self._closed = False
        self._dialer, self._clock = dialer, clock
        self._links: dict[tuple[str, int], Link] = {}
        self._paused: dict[tuple[str, int], float] = {}

    async def master(self) -> tuple[Named, str]:
        """Return the master, and which Sentinels have named it; raises the most informative `Fault` if none has.

        All are asked, and the answer with the newest configuration epoch is used (redis.io, Sentinel), because a
        Sentinel that is cut off from the others still names the old master.
        """
        hosts = self._dialer.url.hosts
        outcomes = await self._ask_all([host for host in hosts if not self._rests(host)])
        named = [outcome for outcome in outcomes if isinstance(outcome, Named)]
        if not named:
            outcomes += await self._ask_all([host for host in hosts if self._rests(host)])
            named = [outcome for outcome in outcomes if isinstance(outcome, Named)]
        if not named:
            faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
            # A refusal says more than a missing answer.
            raise next((fault for fault in faults if isinstance(fault, Refused)), faults[0])
        newest = chosen(named)
        votes = sum(one.host == newest.host for one in named)
        return newest, f"named by {votes} of {len(hosts)} Sentinels"

    def _rests(self, host: tuple[str, int]) -> bool:
        return self._clock.now() < self._paused.get(host, -math.inf)

    async def _ask_all(self, hosts: Sequence[tuple[str, int]]) -> list[Named | Fault]:
        return list(await asyncio.gather(*map(self._ask, hosts)))

    async def _ask(self, host: tuple[str, int]) -> Named | Fault:
        """Ask one Sentinel, on the connection kept for it, or on a new one if that was lost."""
        link = self._links.pop(host, None)
        try:
            async with asyncio.timeout(SENTINEL_SECONDS):
                if link is not None:
                    try:
                        return await self._question(link, host)
                    except OSError:  # lost since the last time
                        link.close()
                link = await self._dialer.dial(host, SENTINEL_SECONDS)
                server = self._dialer.server
                password = self._dialer.secret(server.sentinel_password_file, "sentinelPasswordFile")
                await link.log_in(2, None, password)
                return await self._question(link, host)
        except Exception as error:  # noqa: BLE001 - an error of one Sentinel must not keep the others from answering
            fault = await self._dialer.explain(error, link, SENTINEL_SECONDS, f"Sentinel {address(*host)}")
            self._paused[host] = self._clock.now() + PAUSE_SECONDS
            return fault
        except BaseException:
            if link is not None:
                link.close()
            raise

    async def _question(self, link: Link, host: tuple[str, int]) -> Named:
        master = self._dialer.url.master or ""
        questions = [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master), ("SENTINEL", "MASTER", master)]
        where, about = await link.round_trip(questions)
        if isinstance(where, Exception):
            raise where
        if where is None:
            raise Refused(f"knows no master named {master}")
        named = Named(parse_host(where), parse_epoch(about))
        self._keep(host, link)
        self._paused.pop(host, None)
        return named

    def _keep(self, host: tuple[str, int], link: Link) -> None:
        """Keep `link`, unless another one was opened meanwhile or all are being closed."""
        if self._closed or host in self._links:
            link.close()
        else:
            self._links[host] = link

    def close(self) -> None:
        """Close all connections; those in use are closed after their answer."""
        self._closed = True
        for link in self._links.values():
            link.close()
        self._links.clear()


def chosen(named: Sequence[Named]) -> Named:
    """Return the answer with the newest epoch, of several that of most Sentinels; raises `Unavailable` for a draw."""
    newest = max(one.epoch for one in named)
    votes = Counter(one for one in named if one.epoch == newest)
    (first, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        raise Unavailable("the Sentinels do not agree on where the master is; a failover may be under way")
    return first


def parse_host(answer: Any) -> tuple[str, int]:
    """Return the host and port in an answer; raises `ValueError` for anything else."""
    name, port = answer
    return checked_host(name.decode("ascii"), int(port))


def parse_epoch(answer: Any) -> int:
    """Return the config epoch in an answer, `NO_EPOCH` if there is none."""
    if isinstance(answer, list) and b"config-epoch" in answer[::2]:
        epoch = answer[answer.index(b"config-epoch") + 1]
        if isinstance(epoch, bytes) and epoch.isdigit() and len(epoch) <= 20:
            return int(epoch)
    return NO_EPOCH
