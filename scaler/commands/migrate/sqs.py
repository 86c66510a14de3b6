"""KEDA's `aws-sqs-queue` as source `sqs`: keys, defaults and formula are the same, the identity is not."""

from scaler.commands.migrate.edits import Entry
from scaler.commands.migrate.model import FROM_ENV, Around, Left, Other
from scaler.keda.scalable import ScaledJob

_SAME = (
    "queueURL", "queueLength", "activationQueueLength", "awsRegion", "awsEndpoint", "scaleOnInFlight", "scaleOnDelayed",
)  # fmt: skip
_IDENTITY = ("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken", "identityOwner", "awsRoleArn")
_KEYS = ("awsAccessKeyID", "awsSecretAccessKey", "awsSessionToken")
OWN = "the scaler reads the queue with its own role"


def translate(around: Around) -> Other:
    """Return the same queue for this scaler; raises `Left` for keys that it does not have."""
    entries = [Entry("source", "sqs")]
    for key, value in around.metadata.items():
        plain = key.removesuffix(FROM_ENV)
        if plain in _SAME:
            entries.append(Entry(key, value, key))
        elif plain not in _IDENTITY:
            raise Left(f"the key {key} has no counterpart in source sqs")
    role, notes = _identity(around)
    entries += [Entry("awsRoleArn", role)] if role else []
    if isinstance(around.owner, ScaledJob):
        entries += [Entry("refreshSeconds", "0"), Entry("holdInFlight", "false")]
    return Other(tuple(entries), notes)


def _identity(around: Around) -> tuple[str, tuple[str, ...]]:
    """Return the role that the trigger shall assume, "" for none, and what a person must decide about it."""
    authentication = around.authentication
    if authentication is not None and authentication.role:
        return authentication.role, ()
    written = around.metadata.get("awsRoleArn")
    if written:
        return written, ()
    if around.given("awsRoleArn"):
        where = around.where("awsRoleArn")
        return "", (f"its role comes from {where}: set awsRoleArn to it, and grant it in aws.roles; without it {OWN}",)
    if found := [key for key in _KEYS if around.given(key)]:
        where = ", ".join(dict.fromkeys(around.where(key) for key in found))
        return "", (f"static keys ({where}) are not taken over: {OWN}, so allow that role to read it",)
    if around.metadata.get("identityOwner") == "operator":
        return "", (f"KEDA's operator read it with its role; now {OWN}, so allow that role to read it",)
    ref = around.trigger.authentication_ref
    if ref is not None and authentication is None:
        return "", (f"{ref.kind} {ref.name} is not among the files, so whose role read the queue is not known; {OWN}",)
    who = f"podIdentity {authentication.provider}" if authentication and authentication.provider else "pod identity"
    return "", (
        f"{who} read it with a role of KEDA or of the workload: {OWN}; set awsRoleArn where it must be another",
    )
