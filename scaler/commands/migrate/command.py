"""Runs `migrate`: from its options to its output and changed files."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer
import yaml

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.commands.advice.patch import diff
from scaler.commands.asking import from_cluster, whole
from scaler.commands.configured import configured
from scaler.commands.manifests import TEMPLATE, File, is_ours, render_first, survey_file, texts, together
from scaler.commands.migrate import grants
from scaler.commands.migrate.model import Options
from scaler.commands.migrate.plan import Plan
from scaler.commands.migrate.rewriting import Known, Migrated, migrated, workloads_in
from scaler.commands.text import counted
from scaler.commands.validate import of_trigger
from scaler.core.errors import Fault
from scaler.keda.authentications import Authentication
from scaler.keda.findings import Finding, Manifests
from scaler.keda.manifests import survey
from scaler.keda.scalable import AuthenticationRef, ScaledJob, ScaledObject

_SERVERS_OWN = (
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_Key = tuple[str, str, str]
_AROUND = {
    "TriggerAuthentication": Resource("keda.sh", ("v1alpha1",), "triggerauthentications"),
    "Deployment": Resource("apps", ("v1",), "deployments"),
    "StatefulSet": Resource("apps", ("v1",), "statefulsets"),
}
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(slots=True)
class Result:
    """The results for all files, to be printed."""

    files: list[tuple[File, Migrated]] = field(default_factory=list)
    unreadable: list[Finding] = field(default_factory=list)
    passed_over: list[Finding] = field(default_factory=list)
    cautions: list[Finding] = field(default_factory=list)
    needless: list[str] = field(default_factory=list)

    def plans(self) -> Iterator[tuple[ScaledObject | ScaledJob, Plan]]:
        """Yield the plans, in the order of the files."""
        for _, each in self.files:
            yield from each.plans


def migrate(files: Iterable[File], options: Options, beside: str = "") -> Result:
    """Return the migrated files, without writing them; raises no error for their content.

    `beside` are further manifests for information only: TriggerAuthentications and workloads.
    """
    given = [(file, survey_file(file, "migrate")) for file in files]
    every = together([*(manifests for _, manifests in given), survey(beside)])
    spoken = [*(file.text for file, _ in given), beside]
    workloads = {name: workload for text in spoken for name, workload in workloads_in(text).items()}
    known = Known(every.authentications, workloads, options)
    result = Result()
    for file, manifests in given:
        problems = _problems(file, manifests)
        (result.unreadable if file.named else result.passed_over).extend(problems)
        if problems and TEMPLATE in file.text:
            continue
        done = migrated(file.text, manifests, known)
        result.files.append((file, done))
        result.cautions += _cautions(file, manifests, done)
    result.needless = list(_needless(known, result))
    return result


def _problems(file: File, manifests: Manifests) -> list[Finding]:
    """Return why a file, or a part of it, cannot be read."""
    if file.problem:
        return [Finding(file.name, 1, "", file.problem)] if file.named or file.problem != "not UTF-8 text" else []
    if manifests.unreadable and TEMPLATE in file.text:
        first = manifests.unreadable[0]
        return [replace(first, problem=render_first("migrate"))]
    return list(manifests.unreadable)


def _cautions(file: File, before: Manifests, done: Migrated) -> Iterator[Finding]:
    """Yield the findings of `validate` for the new triggers."""
    touched = {(owner.kind, owner.namespace, owner.name) for owner, plan in done.plans if plan.rewrites}
    for owner in survey(done.text, file.name).objects if touched else ():
        if (owner.kind, owner.namespace, owner.name) in touched:
            for trigger in filter(is_ours, owner.triggers):
                yield from of_trigger(owner, trigger, before.authentications)


def _needless(known: Known, result: Result) -> Iterator[str]:
    """Yield the TriggerAuthentications that only migrated triggers used."""
    gone: dict[_Key, Authentication | AuthenticationRef] = {}
    kept: set[_Key] = set()
    for owner, plan in result.plans():
        for index, trigger in enumerate(owner.triggers):
            ref = trigger.authentication_ref
            if ref is None:
                continue
            key: _Key = (ref.kind, "" if ref.kind.startswith("Cluster") else owner.namespace, ref.name)
            if index in plan.rewrites or index in plan.merged:
                gone[key] = known.authentication(owner, ref) or ref
            else:
                kept.add(key)
    for key, found in gone.items():
        if key not in kept:
            kind, namespace, name = key
            where = f"{found.file}:{found.line}: " if isinstance(found, Authentication) else ""
            missing = "" if where else " (not among the files, so look whether others use it)"
            yield f"{where}{kind} {f'{namespace}/' * bool(namespace)}{name}{missing}"


def run_migrate(
    files: Sequence[str], namespace: str | None, options: Options, *, write: bool, config: Path | None
) -> int:
    """Print the changes and what must be granted, with `write` change the files; return the exit code.

    It is 1 if a trigger of a supported kind is left as it is, 2 if something named cannot be read.
    """
    if bool(files) == bool(namespace):
        raise typer.BadParameter("give either FILE… or --namespace")
    if namespace:
        file, beside = asyncio.run(_from_cluster(namespace, config))
        result = migrate([file], options, beside)
    else:
        result = migrate(texts(files), options)
    streamed = False
    for file, done in result.files:
        if write and (file.name == "-" or namespace):
            typer.echo(done.text, nl=False)
            streamed = True
        elif write and done.text != file.text:
            Path(file.name).write_bytes(done.text.encode())
            typer.echo(f"wrote {file.name}")
        elif done.text != file.text:
            typer.echo(diff(file.text, done.text, file.name), nl=False)
    for line in report(result):
        typer.echo(line, err=streamed)
    for problem in (*result.passed_over, *result.unreadable):
        typer.echo(str(problem), err=True)
    if result.unreadable:
        return 2
    return 1 if any(plan.left for _, plan in result.plans()) else 0


def report(result: Result) -> Iterator[str]:
    """Yield the text after the diffs."""
    if granted := grants.written(list(result.plans())):
        yield granted
    notes = [
        f"{owner.file}:{owner.triggers[index].line}: {owner.triggers[index].type}: {note}"
        for owner, plan in result.plans()
        for index, note in plan.notes
    ]
    left = [
        f"{owner.file}:{owner.triggers[index].line}: {owner.triggers[index].type}: {why}"
        for owner, plan in result.plans()
        for index, why in sorted(plan.left.items())
    ]
    yield from _section(
        "Look at these: not to be decided from the manifests alone, or done in another way than before:", notes
    )
    yield from _section("scaler validate says of the new triggers:", list(map(str, result.cautions)))
    yield from _section("No trigger needs these any more:", result.needless)
    yield from _section("Left as they are:", left)
    done = sum(len(plan.rewrites) + len(plan.merged) for _, plan in result.plans())
    yield f"{counted(done, 'trigger')} migrated, {len(left)} left as {'it is' if len(left) == 1 else 'they are'}"


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  {line}" for line in lines)
        yield ""


async def _from_cluster(namespace: str, config: Path | None) -> tuple[File, str]:
    """Return the ScaledObjects and ScaledJobs of `namespace` as a file, and related objects as YAML."""
    kubernetes = Kubernetes(configured(config).kubernetes)
    context = []
    try:
        text = await from_cluster(kubernetes, namespace, None)
        for kind, resource in _AROUND.items():
            place = Objects(resource, namespace, "", whole)
            try:
                listed = await kubernetes.objects(place)
            except Fault:  # without the right to read them less is known, and each trigger says so
                continue
            context += [json.dumps({**json.loads(found), "kind": kind}) for found in listed.objects]
    finally:
        await kubernetes.close()
    objects = [_as_applied(json.loads(item)) for item in text.split("\n---\n")]
    name = f"namespace-{namespace}.yaml"
    return File(name, named=True, text=yaml.safe_dump_all(objects, sort_keys=False, width=200)), "\n---\n".join(context)


def _as_applied(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object without the fields that only the API server writes."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _SERVERS_OWN}
    annotations = {key: value for key, value in metadata.pop("annotations", {}).items() if key != _APPLIED}
    metadata |= {"annotations": annotations} if annotations else {}
    head = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata}
    return head | {key: value for key, value in item.items() if key not in {*head, "status"}}
