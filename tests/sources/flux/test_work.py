from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.sources.flux import work as keep
from scaler.sources.flux.work import Artifact, Work

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def document(
    *, spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any
) -> dict[str, Any]:
    """Return an object whose spec of generation 2 was reconciled with success."""
    return {
        "metadata": {
            "namespace": "apps",
            "name": "shop",
            "generation": 2,
            "creationTimestamp": "2026-01-01T12:00:00Z",
            **metadata,
        },
        "spec": {"interval": "10m", **(spec or {})},
        "status": {"observedGeneration": 2, "conditions": [condition("Ready", "True")], **(status or {})},
    }


def condition(kind: str, status: str, at: str = "2026-01-01T12:00:00Z", generation: int = 2) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": at, "observedGeneration": generation}


READY = Work("apps/shop", changed=NOON, interval=600.0)


def kept(found: Work | None) -> Work:
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (document(), ""),
        (document(generation=3), "changed"),
        ({key: value for key, value in document().items() if key != "status"}, "changed"),
        (document(status={"observedGeneration": -1, "conditions": []}), "changed"),
        (document(generation=3, status={"conditions": [condition("Ready", "Unknown", generation=3)]}), "changed"),
        (document(generation=3, status={"conditions": [condition("Ready", "False", generation=3)]}), ""),
        (document(generation=3, status={"conditions": [condition("Ready", "False", generation=2)]}), "changed"),
        (
            document(generation=3, status={"lastAttemptedGeneration": 3, "conditions": [condition("Ready", "False")]}),
            "",
        ),
        (document(generation=3, status={"conditions": [condition("Ready", "True", generation=3)]}), "changed"),
        (document(status={"conditions": [condition("Ready", "Unknown")]}), "unfinished"),
        (document(annotations={"reconcile.fluxcd.io/requestedAt": "a"}), "requested"),
        (
            document(annotations={"reconcile.fluxcd.io/requestedAt": "b"}, status={"lastHandledReconcileAt": "a"}),
            "requested",
        ),
        (
            document(annotations={"reconcile.fluxcd.io/requestedAt": "a"}, status={"lastHandledReconcileAt": "a"}),
            "",
        ),
        (document(annotations={"reconcile.fluxcd.io/forceAt": "a"}), ""),
        (document(deletionTimestamp="2026-01-01T12:00:00Z", finalizers=["finalizers.fluxcd.io"]), "deleted"),
        (
            document(
                deletionTimestamp="2026-01-01T12:00:00Z",
                finalizers=["finalizers.fluxcd.io"],
                spec={"suspend": True},
            ),
            "deleted",
        ),
    ],
    ids=[
        "nothing to do",
        "new spec",
        "no status yet",
        "never observed",
        "new spec, being worked on",
        "new spec, tried and failed",
        "new spec, the older one failed",
        "new spec, tried and failed by Helm",
        "new spec, told too early",
        "cut short",
        "requested",
        "requested again",
        "request handled",
        "force is nothing to other kinds",
        "deleted",
        "deleted though suspended",
    ],
)
def test_cause(raw: dict[str, Any], cause: str) -> None:
    assert kept(keep.source(raw)).cause == cause


@pytest.mark.parametrize(
    "raw",
    [
        document(spec={"suspend": True}, generation=3),
        document(spec={"suspend": True}, annotations={"reconcile.fluxcd.io/requestedAt": "a"}),
        document(deletionTimestamp="2026-01-01T12:00:00Z", finalizers=["foregroundDeletion"]),
        document(deletionTimestamp="2026-01-01T12:00:00Z"),
    ],
    ids=["suspended", "suspended and requested", "another's finalizer", "no finalizer"],
)
def test_what_no_controller_touches_is_not_kept(raw: dict[str, Any]) -> None:
    assert keep.source(raw) is None
    assert keep.kustomization(raw) is None


def test_failure_and_stall() -> None:
    failing = document(status={"conditions": [condition("Ready", "False", "2026-01-01T12:00:30Z")]})
    assert kept(keep.source(failing)) == Work("apps/shop", changed=NOON, failed=NOON + 30, interval=600.0)
    failing["status"]["conditions"].append(condition("Stalled", "True"))
    assert kept(keep.source(failing)).stalled


def test_changed_is_the_last_write_that_is_not_the_controllers() -> None:
    written = document(
        managedFields=[
            {"manager": "kubectl", "time": "2026-01-01T12:01:00Z"},
            {"manager": "flux", "time": "2026-01-01T12:05:00Z"},
            {"manager": "gotk", "time": "2026-01-01T12:09:00Z", "subresource": "status"},
        ]
    )
    assert kept(keep.source(written)).changed == NOON + 300


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ({"kind": "GitRepository", "name": "fleet"}, "GitRepository/apps/fleet"),
        ({"kind": "OCIRepository", "name": "fleet", "namespace": "flux-system"}, "OCIRepository/flux-system/fleet"),
    ],
)
def test_kustomization(reference: dict[str, str], source: str) -> None:
    raw = document(
        spec={"sourceRef": reference},
        status={
            "lastAttemptedRevision": "main@sha1:1",
            "history": [
                {"lastReconciled": "2026-01-01T12:10:00Z"},
                {"lastReconciled": "2026-01-01T12:20:00.5Z"},
                {"lastReconciled": "2026-01-01T12:00:00+02:00"},
            ],
        },
    )
    assert keep.kustomization(raw) == Work(
        "apps/shop", source=source, attempted="main@sha1:1", changed=NOON, last=NOON + 1200.5, interval=600.0
    )


@pytest.mark.parametrize(
    ("spec", "status", "source", "attempted"),
    [
        (
            {"chart": {}},
            {"helmChart": "flux-system/apps-shop", "lastAttemptedRevision": "1.2.3"},
            "HelmChart/flux-system/apps-shop",
            "1.2.3",
        ),
        ({"chart": {}}, {}, "", ""),
        (
            {"chartRef": {"kind": "OCIRepository", "name": "shop"}},
            {"lastAttemptedRevision": "1.2.3+aaaa", "lastAttemptedRevisionDigest": "sha256:aaaa"},
            "OCIRepository/apps/shop",
            "sha256:aaaa",
        ),
        (
            {"chartRef": {"kind": "ExternalArtifact", "name": "shop"}},
            {"lastAttemptedRevision": "1.2.3+aaaa", "lastAttemptedRevisionDigest": "sha256:aaaa"},
            "ExternalArtifact/apps/shop",
            "sha256:aaaa",
        ),
        (
            {"chartRef": {"kind": "HelmChart", "name": "shop", "namespace": "charts"}},
            {"lastAttemptedRevision": "1.2.3", "lastAttemptedRevisionDigest": ""},
            "HelmChart/charts/shop",
            "1.2.3",
        ),
    ],
    ids=["template", "template not made yet", "OCI by digest", "external by digest", "chart"],
)
def test_helm_release(spec: dict[str, Any], status: dict[str, Any], source: str, attempted: str) -> None:
    found = kept(keep.helm_release(document(spec=spec, status=status)))
    assert (found.source, found.attempted, found.last, found.cause) == (source, attempted, None, "")


@pytest.mark.parametrize(("asked", "handled"), [("forceAt", "lastHandledForceAt"), ("resetAt", "lastHandledResetAt")])
def test_helm_release_takes_two_more_requests(asked: str, handled: str) -> None:
    annotations = {f"reconcile.fluxcd.io/{asked}": "now"}
    assert kept(keep.helm_release(document(annotations=annotations))).cause == "requested"
    assert kept(keep.helm_release(document(annotations=annotations, status={handled: "now"}))).cause == ""


def test_helm_repository_of_type_oci_is_static() -> None:
    bare = document(spec={"type": "oci"}, status={"observedGeneration": -1}, finalizers=["finalizers.fluxcd.io"])
    assert keep.helm_repository(bare) is None
    bare["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert kept(keep.helm_repository(bare)).cause == "deleted"
    assert kept(keep.helm_repository(document(generation=3))).cause == "changed"


def test_helm_chart_follows_its_source() -> None:
    raw = document(
        spec={"sourceRef": {"kind": "HelmRepository", "name": "charts"}},
        status={"observedSourceArtifactRevision": "sha256:1"},
    )
    found = kept(keep.helm_chart(raw))
    assert (found.source, found.attempted) == ("HelmRepository/apps/charts", "sha256:1")


def test_image_kinds() -> None:
    scanned = document(status={"lastScanResult": {"scanTime": "2026-01-01T12:01:00Z"}})
    assert kept(keep.image_repository(scanned)).last == NOON + 60
    assert kept(keep.image_repository(document())).last is None
    ran = document(status={"lastAutomationRunTime": "2026-01-01T12:02:00Z"})
    assert kept(keep.image_update_automation(ran)).last == NOON + 120


@pytest.mark.parametrize(
    ("spec", "interval", "cause"),
    [
        ({}, 0.0, ""),
        ({"digestReflectionPolicy": "IfNotPresent"}, 0.0, ""),
        ({"digestReflectionPolicy": "Always", "interval": "5m"}, 300.0, "requested"),
    ],
)
def test_image_policy_polls_only_to_reflect_digests(spec: dict[str, str], interval: float, cause: str) -> None:
    raw = document(annotations={"reconcile.fluxcd.io/requestedAt": "a"})
    raw["spec"] = spec
    found = kept(keep.image_policy(raw))
    assert (found.interval, found.cause) == (interval, cause)
    raw["metadata"]["generation"] = 3
    raw["metadata"]["annotations"] = {}
    assert kept(keep.image_policy(raw)).cause == "changed"


@pytest.mark.parametrize(
    ("revision", "digest"),
    [
        ("main@sha1:abc", "sha1:abc"),
        ("1.2.3@sha256:abc", "sha256:abc"),
        ("sha256:abc", "sha256:abc"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_artifact(revision: str, digest: str) -> None:
    raw = document(status={"artifact": {"revision": revision, "lastUpdateTime": "2026-01-01T12:00:10Z"}})
    assert keep.artifact("OCIRepository", raw) == Artifact("OCIRepository/apps/shop", revision, digest, NOON + 10)
    assert keep.artifact("GitRepository", document()) is None


@pytest.mark.parametrize(
    "break_it",
    [
        lambda raw: raw["spec"].update(interval="often"),
        lambda raw: raw["spec"].update(interval="10"),
        lambda raw: raw["spec"].update(interval="-10m"),
        lambda raw: raw["metadata"].pop("generation"),
        lambda raw: raw["metadata"].update(creationTimestamp="2026-01-01T12:00:00"),
        lambda raw: raw["status"]["conditions"][0].update(status="False", lastTransitionTime="yesterday"),
        lambda raw: raw["status"].update(history=[{}]),
    ],
    ids=["interval", "no unit", "negative", "no generation", "no zone", "no time", "empty history"],
)
def test_what_cannot_be_understood_is_no_object_without_work(break_it: Any) -> None:
    raw = document(spec={"sourceRef": {"kind": "GitRepository", "name": "fleet"}})
    break_it(raw)
    with pytest.raises((ValueError, KeyError)):
        keep.kustomization(raw)


@given(hours=st.integers(0, 1000), minutes=st.integers(0, 59), seconds=st.integers(0, 59), millis=st.integers(0, 999))
def test_durations_of_go(hours: int, minutes: int, seconds: int, millis: int) -> None:
    raw = document(spec={"interval": f"{hours}h{minutes}m{seconds}.{millis:03}s"})
    assert kept(keep.source(raw)).interval == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)
