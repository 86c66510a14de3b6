"""Makes `Work` and `Artifact` of Flux objects: why an object is pending, and what its source offers. Pure."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

FINALIZER = "finalizers.fluxcd.io"
"""The finalizer of every Flux kind; while it is set on a deleted object, the controller has to clean up."""

Object = Mapping[str, Any]
Cause = Literal["", "deleted", "requested", "changed", "unfinished"]


@dataclass(frozen=True, slots=True)
class Work:
    """The work that the controller of an object has to do for it.

    `cause` is why it is pending regardless of its source and the time, empty if it is not. `source` is the object whose
    artifact it uses (`GitRepository/namespace/name`), `attempted` the revision or digest of that artifact that the
    controller tried last. `changed` is the last write to anything but its status. `failed` is when the failure in its
    status was first reported, and `stalled` says that the controller will not try again. `last` is its last
    reconciliation, if the status has it, and `interval` the time between two (0: none). All times are Unix seconds.
    """

    name: str
    cause: Cause = ""
    source: str = ""
    attempted: str = ""
    changed: float = 0.0
    failed: float | None = None
    stalled: bool = False
    last: float | None = None
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class Artifact:
    """The artifact of a source: `name` as in `Work.source`, `digest` of an OCI revision, `updated` in Unix seconds."""

    name: str
    revision: str
    digest: str
    updated: float


def kustomization(raw: Object) -> Work | None:
    """Read a Kustomization. From Flux 2.7 on its history has the last reconciliation, successful or not."""
    status = _part(raw, "status")
    return _work(
        raw,
        uses=(_reference(raw, _part(_part(raw, "spec"), "sourceRef")), status.get("lastAttemptedRevision", "")),
        last=max((_time(entry["lastReconciled"]) for entry in status.get("history") or ()), default=None),
    )


def helm_release(raw: Object) -> Work | None:
    """Read a HelmRelease: of a HelmChart the version counts, of other sources the digest.

    (helm-controller, `requestsForHelmChartChange`, `requestsForOCIRepositoryChange`.) If the controller has made a
    HelmChart from the chart template, the status names it as `namespace/name`.
    """
    status = _part(raw, "status")
    reference = _part(_part(raw, "spec"), "chartRef")
    made = status.get("helmChart", "")
    source = _reference(raw, reference) if reference else f"HelmChart/{made}" if made else ""
    by_digest = reference.get("kind", "HelmChart") != "HelmChart"
    attempted = "lastAttemptedRevisionDigest" if by_digest else "lastAttemptedRevision"
    return _work(raw, uses=(source, status.get(attempted, "")), requests=HELM_REQUESTS)


def source(raw: Object) -> Work | None:
    """Read a GitRepository, OCIRepository or Bucket; their status does not say when they were last checked."""
    return _work(raw)


def helm_repository(raw: Object) -> Work | None:
    """Read a HelmRepository; one of `type: oci` is never reconciled and has no status (source-controller)."""
    if _part(raw, "spec").get("type") == "oci" and not _part(raw, "metadata").get("deletionTimestamp"):
        return None
    return _work(raw)


def helm_chart(raw: Object) -> Work | None:
    """Read a HelmChart, which is made from the artifact of another source."""
    observed = _part(raw, "status").get("observedSourceArtifactRevision", "")
    return _work(raw, uses=(_reference(raw, _part(_part(raw, "spec"), "sourceRef")), observed))


def image_repository(raw: Object) -> Work | None:
    """Read an ImageRepository, whose status has the last scan."""
    scan = _part(_part(raw, "status"), "lastScanResult")
    return _work(raw, last=_time(scan["scanTime"]) if scan.get("scanTime") else None)


def image_policy(raw: Object) -> Work | None:
    """Read an ImagePolicy; unless it always reflects the digest, it follows its ImageRepository and has no interval.

    Before Flux 2.7 it ignored requests to reconcile, so these count only if it has an interval.
    """
    spec = _part(raw, "spec")
    if spec.get("digestReflectionPolicy") != "Always":
        return _work(raw, interval=0.0, requests={})
    return _work(raw, interval=_seconds(spec.get("interval", "10m")))


def image_update_automation(raw: Object) -> Work | None:
    """Read an ImageUpdateAutomation, whose status has the last complete run."""
    run = _part(raw, "status").get("lastAutomationRunTime")
    return _work(raw, last=_time(run) if run else None)


def artifact(kind: str, raw: Object) -> Artifact | None:
    """Read the artifact of a source of `kind`; that of a HelmRepository is its index."""
    found = _part(_part(raw, "status"), "artifact")
    if not found:
        return None
    revision = str(found["revision"])
    _, _, digest = revision.rpartition("@")
    return Artifact(f"{kind}/{_name(raw)}", revision, digest, _time(found["lastUpdateTime"]))


REQUESTS = {"reconcile.fluxcd.io/requestedAt": "lastHandledReconcileAt"}
HELM_REQUESTS = REQUESTS | {
    "reconcile.fluxcd.io/forceAt": "lastHandledForceAt",
    "reconcile.fluxcd.io/resetAt": "lastHandledResetAt",
}
"""Annotations that request a reconciliation, and the status field that repeats each when it is done."""


def _work(
    raw: Object,
    *,
    uses: tuple[str, str] = ("", ""),
    last: float | None = None,
    interval: float | None = None,
    requests: Mapping[str, str] = REQUESTS,
) -> Work | None:
    """Return the work of `raw`; None if it is suspended and not being deleted, as no controller handles it then.

    `uses` is its source and the revision of it that was tried last; `interval` defaults to that of the spec.
    """
    metadata, spec, status = _part(raw, "metadata"), _part(raw, "spec"), _part(raw, "status")
    if metadata.get("deletionTimestamp"):  # it is cleaned up even if suspended, and nothing else is done with it
        return Work(_name(raw), "deleted") if FINALIZER in (metadata.get("finalizers") or ()) else None
    if spec.get("suspend"):
        return None
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    failed = ready.get("status") == "False"
    return Work(
        name=_name(raw),
        cause=_cause(metadata, status, ready, requests),
        source=sys.intern(uses[0]),
        attempted=sys.intern(uses[1]),
        changed=_changed(metadata),
        failed=_time(ready["lastTransitionTime"]) if failed else None,
        stalled=conditions.get("Stalled", {}).get("status") == "True",
        last=last,
        interval=_seconds(spec.get("interval", "0s")) if interval is None else interval,
    )


def _cause(metadata: Object, status: Object, ready: Object, requests: Mapping[str, str]) -> Cause:
    annotations = _part(metadata, "annotations")
    if any(
        annotations.get(asked, "") != status.get(seen, "") for asked, seen in requests.items() if asked in annotations
    ):
        return "requested"
    generation = metadata["generation"]
    # `observedGeneration` stays behind until an attempt succeeds or never can; after a failed one these are newer.
    tried = (status.get("lastAttemptedGeneration"), ready.get("observedGeneration"))
    if generation != status.get("observedGeneration") and not (ready.get("status") == "False" and generation in tried):
        return "changed"
    return "unfinished" if ready.get("status") == "Unknown" else ""  # in progress, or interrupted by the end of its pod


def _changed(metadata: Object) -> float:
    """Return when anything but the status was last written, by `managedFields`."""
    return max(
        (
            _time(entry["time"])
            for entry in metadata.get("managedFields") or ()
            if entry.get("subresource") != "status" and entry.get("time")
        ),
        default=_time(metadata["creationTimestamp"]),
    )


def _part(raw: Object, key: str) -> Object:
    return raw.get(key) or {}


def _name(raw: Object) -> str:
    return f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"


def _reference(raw: Object, reference: Object) -> str:
    if not reference:
        return ""
    namespace = reference.get("namespace") or raw["metadata"]["namespace"]
    return f"{reference['kind']}/{namespace}/{reference['name']}"


def _time(text: str) -> float:
    """Return the Unix time of an RFC 3339 timestamp."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} is no RFC 3339 timestamp")
    return moment.timestamp()


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
MAX_DURATION = 100
"""Characters of a duration; each digit of a long number is a place where the pattern below may begin."""
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def _seconds(text: str) -> float:
    """Return the seconds of a duration as Flux's CRDs allow it: `1h30m`, `10m0s`, `500ms`."""
    if len(text) > MAX_DURATION:
        raise ValueError(f"a duration of {len(text)} characters")
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))
