"""The command `validate`: checks the external triggers in manifests, without reading any backend."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from scaler.commands import traps
from scaler.commands.manifests import EXTERNAL, TEMPLATE, File, is_ours, survey_file, texts, together
from scaler.keda.authentications import Authentication
from scaler.keda.findings import Finding
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources import SOURCES
from scaler.sources.triggers import FROM_ENV, check

_ADDRESS = re.compile(r"(?:dns:///)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Report:
    """The results of `validate`, in the order of the files."""

    findings: tuple[Finding, ...] = ()
    """Also cautions."""
    triggers: int = 0
    """Number of triggers of this scaler that were checked."""
    unreadable: tuple[Finding, ...] = ()
    """Named files, or documents in them, that cannot be read."""

    @property
    def cautions(self) -> int:
        """The number of cautions among the findings."""
        return sum(finding.caution for finding in self.findings)

    def exit_code(self, *, strict: bool) -> int:
        """Return 2 if something named cannot be read, 1 with findings (`strict`: or cautions), else 0."""
        if self.unreadable:
            return 2
        return 1 if len(self.findings) > (0 if strict else self.cautions) else 0


def validate(files: Iterable[str], *, pass_over: bool = False) -> Report:
    """Check `files`: paths, folders, `-`. Raises no error for their content: everything is checked.

    In folders, files and documents that are no manifests are skipped. One with KEDA's kinds that is not YAML is a
    finding, or a caution if it looks like a template. With `pass_over` that is so for named files, too.
    """
    given = (replace(file, named=file.named and not pass_over) for file in texts(files))
    looked = [(file, survey_file(file, "validate")) for file in given]
    everything = together(manifests for _, manifests in looked)
    authentications, setters = everything.authentications, traps.by_target(everything.rivals)
    scaled = traps.by_workload(everything.objects)
    found: list[Finding] = []
    unreadable: list[Finding] = []
    triggers = 0
    for file, manifests in looked:
        here = [*manifests.findings, *manifests.refusals]
        unreadable += _unread(file, manifests.unreadable) if file.named else ()
        here += () if file.named else _passed_over(file, manifests.unreadable)
        for owner in manifests.objects:
            ours = 0
            for trigger in owner.triggers:
                mine = is_ours(trigger)
                here += of_trigger(owner, trigger, authentications) if mine else of_other(owner, trigger)
                ours += mine
            triggers += ours
            if ours:
                here += (_caution(owner, trap) for trap in traps.of_owner(owner))
                here += (_caution(owner, trap) for trap in traps.of_rivals(owner, scaled))
                here += (_caution(owner, trap) for trap in traps.of_setters(owner, setters))
        found += sorted(here, key=lambda finding: finding.line)
    return Report(tuple(found), triggers, tuple(unreadable))


def _unread(file: File, broken: Iterable[Finding]) -> Iterator[Finding]:
    yield from broken
    if file.problem:
        yield Finding(file.name, 1, "", file.problem)


def _passed_over(file: File, broken: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings for a skipped file in a folder: an unreadable file must not look like one without triggers."""
    if file.problem and file.problem != "not UTF-8 text":
        yield Finding(file.name, 1, "", f"{file.problem}, so it was passed over", caution=True)
    for each in broken:
        if TEMPLATE in file.text:
            yield replace(each, caution=True)
            return
        yield each


def of_trigger(
    owner: ScaledObject | ScaledJob, trigger: Trigger, authentications: Iterable[Authentication]
) -> Iterator[Finding]:
    """Yield the findings for one trigger of ours; `authentications` are those in the files."""
    if any(TEMPLATE in value for value in trigger.metadata.values()):
        text = f"values with {TEMPLATE} are not rendered yet, so they were not looked at"
        yield Finding(owner.file, trigger.line, "metadata", text, caution=True)
        return
    if problem := address_problem(trigger.metadata.get("scalerAddress", "")):
        line = trigger.key_lines.get("scalerAddress", trigger.line)
        yield Finding(owner.file, line, "scalerAddress", problem)
    unresolved = [key for key in trigger.metadata if key.endswith(FROM_ENV)]
    parsed, problems = check(trigger.metadata, owner.namespace, unresolved)
    for problem_ in problems:
        key = problem_.key
        line = trigger.key_lines.get(key) or trigger.key_lines.get(f"{key}{FROM_ENV}", trigger.line)
        yield Finding(owner.file, line, key, problem_.text)
    found = (*traps.of_connection(trigger), *traps.of_authentication(owner, trigger, authentications))
    for trap in (*found, *(traps.of_trigger(owner, trigger, parsed) if parsed is not None else ())):
        yield _caution(owner, trap)


def of_other(owner: ScaledObject | ScaledJob, trigger: Trigger) -> Iterator[Finding]:
    """Yield what keeps a trigger that is not ours from being one, or from being one of an external scaler at all."""
    line = trigger.key_lines.get("scalerAddress", trigger.line)
    address = trigger.metadata.get("scalerAddress", "")
    if trigger.type in EXTERNAL:
        if not address:
            yield Finding(owner.file, line, "scalerAddress", address_problem(address))
        return
    meant = next((name for name in EXTERNAL if _letters(name) == _letters(trigger.type)), None)
    if meant is not None:
        yield Finding(owner.file, trigger.line, "type", f"KEDA knows no type {trigger.type}; did you mean {meant}?")
    elif address:
        text = (
            f"KEDA's own {trigger.type} takes no scalerAddress; an external scaler has type external or external-push"
        )
        yield Finding(owner.file, line, "type", text)
    elif trigger.metadata.get("source") in SOURCES:
        text = (
            f"KEDA's own {trigger.type} is asked, not this scaler, whose triggers have type external or external-push"
        )
        yield Finding(owner.file, trigger.line, "type", text, caution=True)


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.casefold())


def _caution(owner: ScaledObject | ScaledJob, trap: traps.Trap) -> Finding:
    return Finding(owner.file, trap.line, trap.key, trap.text, caution=True)


def address_problem(address: str) -> str:
    """Return what is wrong with a `scalerAddress`, "" if nothing is; KEDA passes it to gRPC unchanged."""
    if not address:
        return "required by KEDA: HOST:PORT of the scaler's gRPC"
    match = _ADDRESS.fullmatch(address)
    if match is not None and 1 <= int(match["port"]) <= 65_535:
        return ""
    shown = f"'{address[:80]}'"
    if "://" in address and not address.startswith("dns:///"):
        return f'{shown} has a scheme, which gRPC cannot dial; write HOST:PORT, and enableTLS: "true" for TLS'
    return f"{shown} must be HOST:PORT, such as keda-queue-scaler.keda.svc.cluster.local:9090"
