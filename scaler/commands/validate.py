"""The command `validate`: what is wrong with the external triggers in manifests, without asking any backend."""

from collections.abc import Iterable, Iterator

from scaler.commands import traps
from scaler.commands.manifests import is_ours, read
from scaler.keda.manifests import Finding
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources.triggers import FROM_ENV, check


def findings(files: Iterable[str]) -> tuple[list[Finding], int]:
    """Return the findings in `files`, in their order, and how many triggers were looked at.

    Raises `InputError` or `ManifestError` for a file that cannot be read at all.
    """
    manifests = read(files)
    found = list(manifests.findings)
    looked_at = 0
    for owner in manifests.objects:
        ours = [trigger for trigger in owner.triggers if is_ours(trigger)]
        looked_at += len(ours)
        for trigger in ours:
            found += _of_trigger(owner, trigger)
        if ours:
            found += (Finding(owner.file, trap.line, trap.key, trap.text) for trap in traps.of_owner(owner))
    return found, looked_at


def _of_trigger(owner: ScaledObject | ScaledJob, trigger: Trigger) -> Iterator[Finding]:
    if not trigger.metadata.get("scalerAddress"):
        yield Finding(owner.file, trigger.line, "scalerAddress", "required by KEDA: HOST:PORT of the scaler's gRPC")
    unresolved = [key for key in trigger.metadata if key.endswith(FROM_ENV)]
    parsed, problems = check(trigger.metadata, owner.namespace, unresolved)
    for problem in problems:
        line = trigger.key_lines.get(problem.key) or trigger.key_lines.get(f"{problem.key}{FROM_ENV}", trigger.line)
        yield Finding(owner.file, line, problem.key, problem.text)
    if parsed is not None:
        for trap in traps.of_trigger(owner, trigger, parsed):
            yield Finding(owner.file, trap.line, trap.key, trap.text)
