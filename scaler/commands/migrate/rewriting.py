"""Rewrites the triggers in the text of a file, and proves that nothing else has changed."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaler.commands.manifests import TEMPLATE, render_first
from scaler.commands.migrate.edits import CannotEditError, Editor
from scaler.commands.migrate.model import Options, TriggerContext, Workload
from scaler.commands.migrate.plan import TRANSLATORS, Plan, plan
from scaler.commands.migrate.workloads import KINDS, Name, workload
from scaler.keda.authentications import Authentication
from scaler.keda.findings import Manifests
from scaler.keda.manifests import known_objects
from scaler.keda.scalable import AuthenticationRef, ScaledJob, ScaledObject, Trigger
from scaler.keda.yaml_lines import Broken, documents
from scaler.keda.yaml_nodes import Document, Path
from scaler.keda.yaml_nodes import Sequence as SequenceNode

MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Known:
    """The information from all files together."""

    authentications: tuple[Authentication, ...]
    workloads: Mapping[Name, Workload]
    options: Options

    def authentication(self, owner: ScaledObject | ScaledJob, ref: AuthenticationRef | None) -> Authentication | None:
        """Return the TriggerAuthentication that a trigger of `owner` refers to, if it is known."""
        if ref is None:
            return None
        wanted = (ref.kind, "" if ref.kind.startswith("Cluster") else owner.namespace, ref.name)
        return next((each for each in self.authentications if (each.kind, each.namespace, each.name) == wanted), None)

    def context(self, owner: ScaledObject | ScaledJob, trigger: Trigger) -> TriggerContext:
        """Return a trigger with what is known about it."""
        found = Workload()
        if isinstance(owner, ScaledObject):
            target = owner.scale_target_ref
            found = self.workloads.get((target.kind, owner.namespace, target.name), found)
        return TriggerContext(
            owner, trigger, self.authentication(owner, trigger.authentication_ref), found, self.options
        )


@dataclass(frozen=True, slots=True)
class Migrated:
    """One file, and the plan for each owner in it; a plan that could not be carried out has no rewrites."""

    text: str
    plans: tuple[tuple[ScaledObject | ScaledJob, Plan], ...]


def workloads_in(text: str) -> dict[Name, Workload]:
    """Return the workloads of a file."""
    found: dict[Name, Workload] = {}
    if not any(kind in text for kind in KINDS):  # reading YAML takes seconds for a large file
        return found
    for document in documents(text.removeprefix(MARK)):
        if not isinstance(document, Broken):
            items = document.data.get("items") if isinstance(document.data, dict) else None
            for data in [document.data, *(items if isinstance(items, list) else ())]:
                if (entry := workload(data)) is not None:
                    found[entry[0]] = entry[1]
    return found


def migrated(text: str, manifests: Manifests, known: Known) -> Migrated:
    """Migrate the file with `text`, whose manifests are `manifests`."""
    if not manifests.objects:
        return Migrated(text, ())
    mark = MARK if text.startswith(MARK) else ""
    body = text.removeprefix(MARK)
    owners = {owner.line: owner for owner in manifests.objects}
    places = {
        document.line(path): (document, path)
        for document in documents(body)
        if not isinstance(document, Broken)
        for path, _ in known_objects(document.data, ())
    }
    plans: list[tuple[ScaledObject | ScaledJob, Plan]] = []
    edits: list[tuple[int, Editor]] = []
    for line, owner in owners.items():
        made = _planned(owner, known)
        if made.rewrites:
            document, path = places[line]
            try:
                edits.append((len(plans), _edited(body, document, path, made)))
            except CannotEditError as why:
                made = _undone(made, str(why))
        plans.append((owner, made))
    for number, editor in edits:
        # Each alone first, so that one that cannot be proved does not affect the others.
        if not _proved(body, editor.result(), [plans[number]]):
            owner, made = plans[number]
            plans[number] = owner, _undone(made, "its text could not be changed without changing something else")
    good = [editor for number, editor in edits if plans[number][1].rewrites]
    changed = Editor(body, [change for editor in good for change in editor.changes]).result()
    return Migrated(mark + changed, tuple(plans))


def _planned(owner: ScaledObject | ScaledJob, known: Known) -> Plan:
    contexts = [known.context(owner, trigger) for trigger in owner.triggers]
    made = plan(contexts)
    raw = [
        index
        for index, trigger in enumerate(owner.triggers)
        if trigger.type in TRANSLATORS and any(TEMPLATE in value for value in trigger.metadata.values())
    ]
    if not raw:
        return made
    why = render_first("migrate")
    return _undone(replace(made, left={**made.left, **dict.fromkeys(raw, why)}), why)


def _undone(made: Plan, why: str) -> Plan:
    kept = dict.fromkeys([*made.rewrites, *made.merged], why)
    return Plan({}, {}, {**made.left, **kept}, (), (), ())


def _edited(text: str, document: Document, path: Path, made: Plan) -> Editor:
    editor = Editor(text)
    triggers = document.node((*path, "spec", "triggers"))
    if not isinstance(triggers, SequenceNode):
        raise CannotEditError("its triggers are no list")
    for index, rewrite in made.rewrites.items():
        editor.rewrite(triggers.items[index], rewrite)
    for index in made.merged:
        editor.remove_item(triggers, index)
    editor.result()
    return editor


def _proved(before: str, after: str, plans: Sequence[tuple[ScaledObject | ScaledJob, Plan]]) -> bool:
    """Tell whether `after` equals `before` except for the triggers of `plans`, and these are as planned."""
    made = {owner.line: each for owner, each in plans}
    old, new = list(documents(before)), list(documents(after))
    if len(old) != len(new):
        return False
    for was, now in zip(old, new, strict=True):
        if isinstance(was, Broken) or isinstance(now, Broken):
            if not (isinstance(was, Broken) and isinstance(now, Broken) and was.problem == now.problem):
                return False
            continue
        expected = copy.deepcopy(was.data)
        for path, data in known_objects(expected, ()):
            if (each := made.get(was.line(path))) is not None and each.rewrites:
                _expect(data["spec"]["triggers"], each)
        if expected != now.data:
            return False
    return True


def _expect(triggers: list[Any], made: Plan) -> None:
    for index, rewrite in made.rewrites.items():
        trigger = triggers[index]
        for key in rewrite.drop:
            trigger.pop(key, None)
        trigger["type"] = rewrite.type
        trigger["metadata"] = {entry.key: entry.value for entry in rewrite.metadata}
    for index in sorted(made.merged, reverse=True):
        del triggers[index]
