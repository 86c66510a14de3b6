"""Reasons why an empty queue may be a mistake: a wrong database, a wrong name, busy processes outside the selection."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import chain, islice

from scaler.sources.sidekiq.fleet import Group, Processes, deployment_of, owner_of, remembered, stateful_set_of
from scaler.sources.sidekiq.known_queues import Elsewhere, Known
from scaler.sources.sidekiq.state import Process
from scaler.sources.sidekiq.workload import Selection, fits_host, members, select

MAX_NAMED = 8
MAX_COMPARED = 2_000
MAX_LOOKED_AROUND = 5
"""Unknown queues of one trigger whose surroundings are read; the others probably have the same mistake."""


@dataclass(frozen=True)
class Scene:
    """Everything read for a trigger that can raise doubts."""

    selection: Selection
    prefix: str
    processes: Processes
    waiting: Mapping[str, int]
    """Jobs by watched queue, including those that are due soon."""
    redis: Known

    @property
    def known(self) -> frozenset[str] | None:
        """The members of the set `queues`; None without the right to read it."""
        return self.redis.names

    @property
    def unused(self) -> bool:
        """Whether Sidekiq has no key in this database."""
        there = self.processes.live or self.processes.ghosts or self.processes.strangers
        return self.known == frozenset() and not there and not any(self.waiting.values())

    @cached_property
    def strange_queues(self) -> tuple[str, ...]:
        """Return the watched queues that never had a job and that no process fetches."""
        known = self.known
        if known is None or self.processes.unknown:
            return ()
        return tuple(
            queue for queue, jobs in self.waiting.items() if not jobs and queue not in known and not self._fetch(queue)
        )

    def unfetched_queues(self) -> tuple[str, ...]:
        """Return the other watched queues that no process fetches, although processes of the workload run."""
        if self.processes.unknown or all(map(self._fetch, self.waiting)):
            return ()
        if all(process.quiet or process.late for process in self.workload()):
            return ()
        unfetched = (queue for queue in self.waiting if not self._fetch(queue))
        return tuple(queue for queue in unfetched if queue not in self.strange_queues)

    def workload(self) -> Iterator[Process]:
        """Return the processes of the workload."""
        for position in select(self.processes, self.selection)[0]:
            yield from members(self.processes.groups[position], self.selection)

    def strays(self) -> tuple[Process, ...]:
        """Return the busy processes on a watched queue that are not selected but may be meant.

        If the selection finds any process, those of other Deployments are not meant: workloads may share queues.
        """
        if self.selection.queues is not None:
            return ()
        groups, (belonging, _) = self.processes.groups, select(self.processes, self.selection)
        pattern = self.selection.hostname_regex
        others = frozenset[int]().union(*(self._fetch(queue) for queue in self.waiting)) & self.processes.working
        if pattern is None:
            others -= belonging
        if not others:
            return ()
        chosen = self._owners(belonging)
        if chosen:
            meant = chosen | {self.selection.deployment or ""}
            others = frozenset(position for position in others if not groups[position].owners.isdisjoint(meant))
        return tuple(
            process
            for position in sorted(others)
            for process in groups[position].busy
            if not chosen or owner_of(process.hostname) in meant
            if pattern is None or position not in belonging or not fits_host(pattern, process.hostname)
        )

    def _owners(self, belonging: frozenset[int]) -> frozenset[str]:
        """Return the Deployments or StatefulSets of the selected processes, cached for each reading."""

        def owners() -> frozenset[str]:
            groups = [self.processes.groups[position] for position in belonging]
            fitting = ((group, members(group, self.selection)) for group in groups)
            return frozenset[str]().union(*(_owners(group, fit) for group, fit in fitting if fit))

        return remembered(self.processes.memo, ("owners", belonging, self.selection.hostname_regex), owners)

    def _fetch(self, queue: str) -> frozenset[int]:
        return self.processes.having("queue", queue)


def _owners(group: Group, fitting: tuple[Process, ...]) -> frozenset[str]:
    return group.owners if len(group.owners) == 1 else frozenset(owner_of(process.hostname) for process in fitting)


def doubts(scene: Scene, near: Mapping[str, Elsewhere]) -> Iterator[str]:
    """Yield the doubts, each with what to look at; `near` has the surroundings of the strange queues."""
    if scene.redis.evicted:
        yield (
            f"this Redis has thrown out {scene.redis.evicted} keys for want of memory, by maxmemory-policy {quoted(scene.redis.policy)}: "
            "waiting jobs or the heartbeats of busy processes may be gone without a word; Sidekiq wants noeviction"
        )
    if scene.unused:
        namespace = f" under keyPrefix {quoted(scene.prefix.removesuffix(':'))}" if scene.prefix else ""
        yield (
            f"no Sidekiq has ever used this database{namespace}: it has neither `queues` nor `processes`"
            f"{_elsewhere(scene, near)}; check the database at the end of the Redis URL, and keyPrefix"
        )
    elif strange := scene.strange_queues:
        for queue in strange[:MAX_NAMED]:
            yield _strange(scene, queue, near)
        if len(strange) > MAX_NAMED:
            yield f"{len(strange) - MAX_NAMED} more queues are not in `queues` either"
    if unfetched := scene.unfetched_queues():
        infos = dict.fromkeys(process.info for process in scene.workload())
        fetched = some(queue for info in infos if info is not None for queue in info.queues)
        yield (
            f"no process fetches {listed(unfetched)}, although processes of this workload run; "
            f"they fetch {listed(fetched)}: check queues, and `-q` or `:queues:` of Sidekiq"
        )
    if strays := scene.strays():
        yield _stray(scene, strays)


def _strange(scene: Scene, queue: str, near: Mapping[str, Elsewhere]) -> str:
    there = some(chain(scene.known or (), scene.processes.fetched()))
    nearest = _nearest(queue, there)
    return (
        f"queue {quoted(queue)} is not in `queues`: it never had a job here, and no process fetches it"
        + (f"; did you mean {quoted(nearest)}?" if nearest else "")
        + (f"; there are {listed(there)}" if there else "")
        + _elsewhere(scene, {queue: near[queue]} if queue in near else {})
    )


def _elsewhere(scene: Scene, near: Mapping[str, Elsewhere]) -> str:
    found = []
    for key, jobs in dict.fromkeys(each for one in near.values() for each in one.lists):
        whose = "Bull" if key.startswith("bull:") else "Celery or another system"
        found.append(f"{jobs} jobs wait in the list {quoted(key)} of {whose}, which is not Sidekiq's")
    prefixes = sorted({prefix for one in near.values() for prefix in one.prefixes})
    if "" in prefixes and scene.prefix:
        found.append("there are queues without a namespace (leave keyPrefix out)")
    if names := [prefix.removesuffix(":") for prefix in prefixes if prefix]:
        found.append(f"there are queues under keyPrefix {listed(names)}")
    databases = sorted({number for one in near.values() for number in one.databases})
    if scene.unused and databases:
        found.append(f"databases with keys are {listed(map(str, databases))}")
    return "".join(f"; {text}" for text in found)


def _stray(scene: Scene, strays: tuple[Process, ...]) -> str:
    queues = [
        queue for queue in scene.waiting if any(process.info and queue in process.info.queues for process in strays)
    ]
    threads = sum(process.busy or 0 for process in strays)
    return (
        f"{threads} busy threads of processes that fetch {listed(queues)} do not count, as they do not fit "
        f"{_asked(scene.selection)}: {listed({process.hostname for process in strays})}{_remedy(scene.selection, strays)}"
    )


def _asked(selection: Selection) -> str:
    asked = {
        "deployment": selection.deployment,
        "hostnameRegex": selection.hostname_regex,
        "tag": selection.tag,
        "label": selection.label,
        "capsule": selection.capsule,
    }
    return ", ".join(f"{key}: {quoted(value)}" for key, value in asked.items() if value is not None)


def _remedy(selection: Selection, strays: Collection[Process]) -> str:
    """Return what to write instead, where one of the keys of the selection is seen to be wrong."""
    found = []
    if selection.deployment is not None and (text := _of_pods(selection.deployment, strays)):
        found.append(text)
    infos = [process.info for process in strays if process.info is not None]
    if selection.tag is not None and (tags := {info.tag for info in infos if info.tag != selection.tag}):
        found.append(f"their tag is {listed(tags)}")
    if selection.label is not None and not any(selection.label in info.labels for info in infos):
        labels = {label for info in infos for label in info.labels}
        found.append(f"their labels are {listed(labels)}" if labels else "they have no label")
    if selection.capsule is not None:
        capsules = {capsule.name for info in infos for capsule in info.capsules}
        if selection.capsule not in capsules:
            known = f"their capsules are {listed(capsules)}"
            found.append(known if capsules else "they report no capsule, as Sidekiq does from 8.0.9 on")
    return "".join(f"; {text}" for text in found)


def _of_pods(deployment: str, strays: Collection[Process]) -> str:
    """Return what the names of the pods say; nothing where those of the Deployment are among them."""
    deployments = {deployment_of(process.hostname) for process in strays}
    if deployment in deployments:
        return ""
    sets = {stateful_set_of(process.hostname) for process in strays}
    if len(sets) == 1 and (name := sets.pop()) is not None and deployments == {None}:
        return f"these look like pods of a StatefulSet: instead of deployment write {ordinals(name)}"
    if len(deployments) == 1 and (other := deployments.pop()) is not None:
        return f"these look like pods of deployment: {quoted(other)}"
    return "a Deployment gives its pods other names: instead of deployment write hostnameRegex, tag or label"


def ordinals(name: str) -> str:
    """Return the key and the pattern that choose the pods of a StatefulSet."""
    return f"hostnameRegex: ^{escaped(name)}-[0-9]+$"


def escaped(name: str) -> str:
    """Return a name of Kubernetes as a pattern for it alone."""
    return name.replace(".", r"\.")


def quoted(name: str) -> str:
    """Return a name from Redis for a message: printable, and not too long."""
    text = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return text if len(text) <= 80 else f"{text[:80]}…"


def some(names: Iterable[str]) -> frozenset[str]:
    """Return a limited number of `names`, because a Redis may have any number."""
    return frozenset(islice(names, MAX_COMPARED))


def listed(names: Iterable[str]) -> str:
    """Return the first of `names` in order, and the number of the others."""
    ordered = sorted(set(names))
    count = "many" if len(ordered) >= MAX_COMPARED else len(ordered) - MAX_NAMED
    more = f" and {count} more" if len(ordered) > MAX_NAMED else ""
    return ", ".join(map(quoted, ordered[:MAX_NAMED])) + more


@lru_cache(maxsize=256)
def _nearest(queue: str, names: frozenset[str]) -> str | None:
    """Return the name that was probably meant: other case, with or without a namespace, or misspelt."""
    compared = sorted(names)
    folded = {name.casefold(): name for name in compared}
    last = queue.casefold().rpartition(":")[2]
    for name in (queue.casefold(), last):
        if name in folded:
            return folded[name]
    ending = next((name for name in compared if name.casefold().endswith(f":{last}")), None)
    close = get_close_matches(queue.casefold(), folded, n=1)
    return ending or (folded[close[0]] if close else None)
