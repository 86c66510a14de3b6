"""Migrates KEDA's `aws-sqs-queue` to source `sqs`: same keys, defaults and formula, but another identity."""

from scaler.commands.migrate.edits import Entry
from scaler.commands.migrate.model import FROM_ENV, Left, Other, TriggerContext
from scaler.keda.scalable import ScaledJob

_SAME = (
    "queueURL", "queueLength", "activationQueueLength", "awsRegion", "awsEndpoint", "scaleOnInFlight", "scaleOnDelayed",
)  # fmt: skip
_IDENTITY = ("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken", "identityOwner", "awsRoleArn")
_KEYS = ("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken")
OWN = "the scaler reads the queue with its own role"


def translate(context: TriggerContext) -> Other:
    """Return the new trigger for the same queue; raises `Left` for unsupported keys."""
    entries = [Entry("source", "sqs")]
    for key, value in context.metadata.items():
        plain = key.removesuffix(FROM_ENV)
        if plain in _SAME:
            entries.append(Entry(key, value, key))
        elif plain not in _IDENTITY:
            raise Left(f"the key {key} has no counterpart in source sqs")
    role, notes = _identity(context)
    entries += [Entry("awsRoleArn", role)] if role else []
    if isinstance(context.owner, ScaledJob):
        entries += [Entry("refreshSeconds", "0"), Entry("holdInFlight", "false")]
    return Other(tuple(entries), notes)


def _identity(context: TriggerContext) -> tuple[str, tuple[str, ...]]:
    """Return the role to assume, "" for none, and what a person must decide about it."""
    authentication = context.authentication
    role = authentication.role if authentication is not None else ""
    if role or (role := context.metadata.get("awsRoleArn", "")):
        return role, ()
    ref = context.trigger.authentication_ref
    if context.given("awsRoleArn"):
        where = context.where("awsRoleArn")
        note = f"its role comes from {where}: set awsRoleArn to it, and grant it in aws.roles; without it {OWN}"
    elif found := [key for key in _KEYS if context.given(key)]:
        where = ", ".join(dict.fromkeys(context.where(key) for key in found))
        note = f"static keys ({where}) are not taken over: {OWN}, so allow that role to read it"
    elif context.metadata.get("identityOwner") == "operator":
        note = f"KEDA's operator read it with its role; now {OWN}, so allow that role to read it"
    elif ref is not None and authentication is None:
        note = f"{ref.kind} {ref.name} is not among the files, so whose role read the queue is not known: give migrate its file too, or else {OWN}"
    else:
        who = f"podIdentity {authentication.provider}" if authentication and authentication.provider else "pod identity"
        note = f"{who} read it with a role of KEDA or of the workload: {OWN}; set awsRoleArn where it must be another"
    return "", (note,)
