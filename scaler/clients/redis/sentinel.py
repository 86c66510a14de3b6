"""The Sentinels of a master: asked with every read, since a master that was replaced may go on calling itself one."""

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
"""For each of them, all at the same time."""
PAUSE_SECONDS = 10.0
"""Before one that has failed is asked again, while others answer."""
NO_EPOCH = -1


@dataclass(frozen=True, slots=True)
class Named:
    """What a Sentinel says: where the master is, and since which of the failovers, which are numbered."""

    host: tuple[str, int]
    epoch: int = NO_EPOCH


class Sentinels:
    """Keeps a connection to each Sentinel of a URL."""

    def __init__(self, dialer: Dialer, clock: Clock) -> None:
        """Connect to none yet."""
        self._closed = False
        self._dialer, self._clock = dialer, clock
        self._links: dict[tuple[str, int], Link] = {}
        self._paused: dict[tuple[str, int], float] = {}

    async def master(self) -> tuple[Named, str]:
        """Return where the master is and who says so; raises the `Fault` of the one that knows most.

        All are asked, and the one whose configuration is newest counts (redis.io, Sentinel, configuration epochs): one
        that is cut off from the others goes on naming the master of old.
        """
        hosts = self._dialer.url.hosts
        outcomes = await self._ask_all([host for host in hosts if not self._rests(host)])
        named = [outcome for outcome in outcomes if isinstance(outcome, Named)]
        if not named:
            outcomes += await self._ask_all([host for host in hosts if self._rests(host)])
            named = [outcome for outcome in outcomes if isinstance(outcome, Named)]
        if not named:
            faults = [outcome for outcome in outcomes if isinstance(outcome, Fault)]
            # One that answers knows more than one that does not.
            raise next((fault for fault in faults if isinstance(fault, Refused)), faults[0])
        newest = chosen(named)
        votes = sum(one.host == newest.host for one in named)
        return newest, f"named by {votes} of {len(hosts)} Sentinels"

    def _rests(self, host: tuple[str, int]) -> bool:
        return self._clock.now() < self._paused.get(host, -math.inf)

    async def _ask_all(self, hosts: Sequence[tuple[str, int]]) -> list[Named | Fault]:
        return list(await asyncio.gather(*map(self._ask, hosts)))

    async def _ask(self, host: tuple[str, int]) -> Named | Fault:
        """Ask one; its connection is kept, and made again if it was lost."""
        link = self._links.pop(host, None)
        try:
            async with asyncio.timeout(SENTINEL_SECONDS):
                if link is not None:
                    try:
                        return await self._question(link, host)
                    except OSError:  # lost since it was asked last
                        link.close()
                link = await self._dialer.dial(host, SENTINEL_SECONDS)
                server = self._dialer.server
                password = self._dialer.secret(server.sentinel_password_file, "sentinelPasswordFile")
                await link.log_in(2, None, password)
                return await self._question(link, host)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one Sentinel, the others may know
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
        """Keep `link` unless another one was made at the same time, or nobody asks any more."""
        if self._closed or host in self._links:
            link.close()
        else:
            self._links[host] = link

    def close(self) -> None:
        """Close all connections, those of questions under way when they are answered."""
        self._closed = True
        for link in self._links.values():
            link.close()
        self._links.clear()


def chosen(named: Sequence[Named]) -> Named:
    """Return the newest of what Sentinels say, of equally new ones what most say; raises `Unavailable` for a draw."""
    newest = max(one.epoch for one in named)
    votes = Counter(one for one in named if one.epoch == newest)
    (first, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        raise Unavailable("the Sentinels do not agree on where the master is; a failover may be under way")
    return first


def parse_host(answer: Any) -> tuple[str, int]:
    """Return the host and the port of an answer; raises `ValueError` for anything else."""
    name, port = answer
    return checked_host(name.decode("ascii"), int(port))


def parse_epoch(answer: Any) -> int:
    """Return the number of the failover that a Sentinel's configuration is from, `NO_EPOCH` if it does not tell."""
    if isinstance(answer, list) and b"config-epoch" in answer[::2]:
        epoch = answer[answer.index(b"config-epoch") + 1]
        if isinstance(epoch, bytes) and epoch.isdigit() and len(epoch) <= 20:
            return int(epoch)
    return NO_EPOCH
