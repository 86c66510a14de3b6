"""All processes of one Redis, grouped by what they can be chosen by, so that 500 workloads do not each look at all."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Self

from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.state import Process

_POD = re.compile(r"(?P<deployment>.+)-[a-z0-9]{1,10}-[a-z0-9]{5}")
"""A Deployment's pods: its name, the hash of the ReplicaSet, five random characters."""
_ORDINAL = re.compile(r"(?P<set>.+)-[0-9]{1,6}")
"""A StatefulSet's pods: its name and a number."""


@lru_cache(maxsize=1 << 16)
def deployment_of(hostname: str) -> str | None:
    """Return the Deployment whose pod has this host name."""
    match = _POD.fullmatch(hostname)
    return match["deployment"] if match else None


def stateful_set_of(hostname: str) -> str | None:
    """Return the StatefulSet whose pod may have this host name."""
    match = _ORDINAL.fullmatch(hostname)
    return match["set"] if match else None


def owner_of(hostname: str) -> str:
    """Return the Deployment or StatefulSet whose pod may have this host name, else the host name."""
    return deployment_of(hostname) or stateful_set_of(hostname) or hostname


@dataclass(frozen=True)
class Group:
    """Processes of one Deployment that say the same of themselves; `info` is None where that cannot be understood."""

    deployment: str | None
    info: Info | None
    members: tuple[Process, ...]

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What was worked out of its members."""
        return {}

    @cached_property
    def busy(self) -> tuple[Process, ...]:
        """Those that say that they work."""
        return tuple(process for process in self.members if process.busy)

    @cached_property
    def owners(self) -> frozenset[str]:
        """The Deployments or StatefulSets of its pods."""
        if self.deployment is not None:
            return frozenset((self.deployment,))
        return frozenset(owner_of(process.hostname) for process in self.members)

    def fits(self, kind: str, value: str | None) -> bool:
        """Tell whether its processes have `value` for what `kind` names."""
        if kind == "deployment":
            return self.deployment == value
        if self.info is None or value is None:
            return False
        match kind:
            case "queue":
                return value in self.info.queues
            case "label":
                return value in self.info.labels
            case "capsule":
                return any(capsule.name == value for capsule in self.info.capsules)
            case _:
                return self.info.tag == value


class Grouping:
    """Tells processes apart by their Deployment and by what they say of themselves, one after the other."""

    def __init__(self) -> None:
        self._positions: defaultdict[tuple[str | None, int], list[int]] = defaultdict(list)
        self._count = 0

    def add(self, process: Process) -> None:
        """Add the next process; it keeps its host name and its `info`."""
        key = (deployment_of(process.hostname), id(process.info))  # equal infos are mostly the same
        self._positions[key].append(self._count)
        self._count += 1

    def groups(self, live: Sequence[Process]) -> tuple[Group, ...]:
        """Return the groups of the processes that were added, which are `live`."""
        return tuple(
            Group(deployment, live[positions[0]].info, tuple(map(live.__getitem__, positions)))
            for (deployment, _), positions in self._positions.items()
        )


@dataclass(frozen=True)
class Processes:
    """All processes of one Redis."""

    live: tuple[Process, ...]
    ghosts: int = 0
    """Members of `processes` without a heartbeat: killed, and not yet removed by another process."""
    strangers: int = 0
    """Members of `processes` whose key is no heartbeat at all."""

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """Results that triggers share as long as nothing changes."""
        return {}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The processes by Deployment and by what they say of themselves."""
        grouping = Grouping()
        for process in self.live:
            grouping.add(process)
        return grouping.groups(self.live)

    @classmethod
    def grouped(cls, live: list[Process], grouping: "Grouping", ghosts: int, strangers: int) -> Self:
        """Return `live`, to which `grouping` was added while they were read."""
        made = cls(tuple(live), ghosts, strangers)
        made.__dict__["groups"] = grouping.groups(made.live)  # that of 20,000 takes 20 ms
        return made

    def having(self, kind: str, value: str | None) -> frozenset[int]:
        """Return the positions of the groups that have `value` for what `kind` names, and keep them."""
        found = self.memo.get((kind, value))
        if found is None:
            fitting = (position for position, group in enumerate(self.groups) if group.fits(kind, value))
            found = self.memo[kind, value] = frozenset(fitting)
        positions: frozenset[int] = found
        return positions

    @cached_property
    def everything(self) -> frozenset[int]:
        """The positions of all groups."""
        return frozenset(range(len(self.groups)))

    @cached_property
    def unknown(self) -> frozenset[int]:
        """The positions of the groups whose `info` cannot be understood."""
        return frozenset(position for position, group in enumerate(self.groups) if group.info is None)

    @cached_property
    def by_host(self) -> Mapping[str, tuple[Process, ...]]:
        """The processes by host name, which in Kubernetes is the pod's."""
        hosts: defaultdict[str, list[Process]] = defaultdict(list)
        for process in self.live:
            hosts[process.hostname].append(process)
        return {hostname: tuple(members) for hostname, members in hosts.items()}

    def fetched(self) -> Iterator[str]:
        """Return the queues that processes fetch, each as often as they say different things of themselves."""
        for info in dict.fromkeys(group.info for group in self.groups):
            yield from info.queues if info is not None else ()
