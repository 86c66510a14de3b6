"""Manifests as they are read: KEDA's defaults, every field, and what cannot be read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.keda.behavior import Behavior, Policy, ScaleDown, ScaleUp
from scaler.keda.findings import ManifestError
from scaler.keda.hpa import HpaSpec
from scaler.keda.manifests import parse
from scaler.keda.scalable import (
    Advanced,
    AuthenticationRef,
    Fallback,
    HorizontalPodAutoscalerConfig,
    ScaledJob,
    ScaledObject,
    ScaleTargetRef,
    ScalingModifiers,
    Trigger,
)
from tests.keda.written import JOB, SHORT, parsed, problems

FULL = """\
# a comment
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: shop
  namespace: eu
  labels: {team: a}
spec:
  scaleTargetRef: {name: shop, kind: StatefulSet, apiVersion: apps/v1, envSourceContainerName: main}
  pollingInterval: 5
  cooldownPeriod: 60
  initialCooldownPeriod: 10
  idleReplicaCount: 0
  minReplicaCount: 2
  maxReplicaCount: 20
  fallback: {failureThreshold: 3, replicas: 6, behavior: currentReplicasIfHigher}
  advanced:
    restoreToOriginalReplicaCount: true
    scalingModifiers: {formula: "a + b", target: "5", activationTarget: "1"}
    horizontalPodAutoscalerConfig:
      name: shop-hpa
      behavior:
        scaleUp: {selectPolicy: Min, policies: [{type: Pods, value: 2, periodSeconds: 60}], tolerance: "0.05"}
        scaleDown: {stabilizationWindowSeconds: 120}
  triggers:
    - type: external-push
      name: a
      metricType: Value
      useCachedMetrics: true
      authenticationRef: {name: certs, kind: ClusterTriggerAuthentication}
      metadata: {source: sqs,
                 queueURL: orders}
    - {type: cron, name: b, metadata: {start: 0 8 * * *}}
"""


def test_kedas_defaults() -> None:
    assert parsed(SHORT) == ScaledObject(
        name="shop",
        namespace="default",
        file="f.yaml",
        line=1,
        paused=False,
        paused_replicas=None,
        scale_target_ref=ScaleTargetRef(name="shop-worker", kind="Deployment", api_version="apps/v1"),
        polling_interval=30,
        cooldown_period=300,
        initial_cooldown_period=0,
        idle_replica_count=None,
        min_replica_count=0,
        max_replica_count=100,
        fallback=None,
        advanced=Advanced(),
        triggers=(
            Trigger(
                type="external",
                metadata={"scalerAddress": "scaler:9090", "queueLength": "5"},
                line=9,
                key_lines={"scalerAddress": 11, "queueLength": 12},
            ),
        ),
    )
    assert parsed(SHORT).hpa_spec() == HpaSpec(1, 100, None)


def test_everything() -> None:
    behavior = Behavior(ScaleUp((Policy("Pods", 2, 60),), "Min", 0, 0.05), ScaleDown(stabilization_window_seconds=120))
    shop = parsed(FULL)
    assert shop == ScaledObject(
        name="shop",
        namespace="eu",
        file="f.yaml",
        line=2,
        scale_target_ref=ScaleTargetRef(name="shop", kind="StatefulSet", env_source_container_name="main"),
        polling_interval=5,
        cooldown_period=60,
        initial_cooldown_period=10,
        idle_replica_count=0,
        min_replica_count=2,
        max_replica_count=20,
        fallback=Fallback(failure_threshold=3, replicas=6, behavior="currentReplicasIfHigher"),
        advanced=Advanced(
            restore_to_original_replica_count=True,
            scaling_modifiers=ScalingModifiers(formula="a + b", target="5", activation_target="1"),
            horizontal_pod_autoscaler_config=HorizontalPodAutoscalerConfig(name="shop-hpa", behavior=behavior),
        ),
        triggers=(
            Trigger(
                type="external-push",
                name="a",
                metric_type="Value",
                use_cached_metrics=True,
                authentication_ref=AuthenticationRef(name="certs", kind="ClusterTriggerAuthentication"),
                metadata={"source": "sqs", "queueURL": "orders"},
                line=26,
                key_lines={"source": 31, "queueURL": 32},
            ),
            Trigger(type="cron", name="b", metadata={"start": "0 8 * * *"}, line=33, key_lines={"start": 33}),
        ),
    )
    assert shop.hpa_spec() == HpaSpec(2, 20, behavior)
    assert [trigger.target_type for trigger in shop.triggers] == ["Value", "AverageValue"]


def test_metadata_stays_out_of_the_repr() -> None:
    assert "scaler:9090" not in repr(parsed(SHORT))


def test_a_scaled_job_and_the_fields_that_decide_nothing_here() -> None:
    job = parsed(
        SHORT.replace("kind: ScaledObject", "kind: ScaledJob").replace(
            "  scaleTargetRef:\n    name: shop-worker\n",
            "  jobTargetRef: {template: {spec: {containers: [{name: a, image: b}]}}}\n  rollout: {strategy: gradual}\n",
        )
    )
    assert isinstance(job, ScaledJob)
    assert (job.kind, job.polling_interval, job.min_replica_count, job.max_replica_count) == ("ScaledJob", 30, 0, 100)


def test_other_kinds_are_passed_over_and_lists_opened() -> None:
    indented = "".join(f"    {line}" for line in SHORT.splitlines(keepends=True))
    text = (
        "kind: Deployment\nspec: {triggers: 5}\n---\n---\njust text\n---\n[a, b]\n---\n"
        f"apiVersion: v1\nkind: List\nitems:\n  - {{kind: Secret}}\n  -\n{indented}---\n{SHORT}"
    )
    manifests = parse(text)
    lines = text.splitlines()
    assert [found.name for found in manifests.objects] == ["shop", "shop"]
    for found in manifests.objects:
        assert found.file == "-"
        assert "apiVersion: keda.sh/v1alpha1" in lines[found.line - 1]
        assert "type: external" in lines[found.triggers[0].line - 1]
        assert "queueLength" in lines[found.triggers[0].key_lines["queueLength"] - 1]


def test_null_is_absent() -> None:
    nulls = SHORT.replace("  name: shop\n", "  name: shop\n  namespace:\n", 1).replace(
        "  triggers:", "  fallback: null\n  triggers:"
    )
    assert (parsed(nulls).namespace, parsed(nulls).fallback) == ("default", None)


def test_an_empty_file_holds_nothing() -> None:
    assert parse("") == parse("# nothing\n---\n")
    assert parse("").objects == ()


def test_aliases_and_merges() -> None:
    text = SHORT + "    - type: external\n      metadata: {<<: *common, queueLength: '9'}\n"
    text = text.replace("metadata:\n        scalerAddress", "metadata: &common\n        scalerAddress")
    assert parsed(text).triggers[1].metadata == {"scalerAddress": "scaler:9090", "queueLength": "9"}


@pytest.mark.parametrize(
    ("annotations", "paused", "replicas"),
    [
        ('{autoscaling.keda.sh/paused: "true"}', True, None),
        ('{autoscaling.keda.sh/paused: "yes indeed"}', True, None),
        ('{autoscaling.keda.sh/paused: "false"}', False, None),
        ('{autoscaling.keda.sh/paused-replicas: "0"}', True, 0),
        ("{}", False, None),
        ("", False, None),
    ],
)
def test_pauses(annotations: str, paused: bool, replicas: int | None) -> None:  # noqa: FBT001 - a column of the table
    found = parsed(SHORT.replace("  name: shop\n", f"  name: shop\n  annotations: {annotations}\n", 1))
    assert (found.paused, found.paused_replicas) == (paused, replicas)


@pytest.mark.parametrize("value", ['"true"', '"1"', '"yes indeed"', '""', '"false"', '"F"'])
@pytest.mark.parametrize(
    ("annotation", "flag"),
    [
        ("paused-scale-in", "paused_scale_in"),
        ("paused-scale-out", "paused_scale_out"),
        ("force-activation", "force_activation"),
    ],
)
def test_annotations_of_one_direction(annotation: str, flag: str, value: str) -> None:
    """As Go reads a boolean, and anything else is true; the ScaledObject is not paused as a whole."""
    text = SHORT.replace(
        "  name: shop\n", f"  name: shop\n  annotations: {{autoscaling.keda.sh/{annotation}: {value}}}\n", 1
    )
    found = parsed(text)
    assert isinstance(found, ScaledObject)
    flags = {
        name: getattr(found, name) for name in ("paused", "paused_scale_in", "paused_scale_out", "force_activation")
    }
    assert [name for name, is_set in flags.items() if is_set] == ([] if value in {'"false"', '"F"'} else [flag])
    assert problems(text) == []


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [
        ("", (0, 100)),
        ("minReplicaCount: 10", (10, 110)),
        ("minReplicaCount: 10, maxReplicaCount: 50", (10, 50)),
    ],
)
def test_without_a_maximum_a_scaled_job_has_100_beyond_its_minimum(counts: str, bounds: tuple[int, int]) -> None:
    found = parsed(JOB.replace("spec:\n", "spec:\n" + "".join(f"  {each}\n" for each in counts.split(", ") if each)))
    assert (found.min_replica_count, found.max_replica_count) == bounds


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("    name: shop-worker", '    name: ""', "7: spec.scaleTargetRef.name: must have at least 1 character"),
        ("    - type: external\n", '    - type: ""\n', "9: spec.triggers[0].type: must have at least 1 character"),
        ("keda.sh/v1alpha1", "keda.k8s.io/v1alpha1", "1: apiVersion: must be keda.sh/v1alpha1"),
        ("name: shop\n", "name: 5\n", "4: metadata.name: must be a name"),
        ("name: shop\n", "generateName: shop\n", "3: metadata.name: must be a name"),
        ("name: shop\n", "name: shop\n  namespace: [a]\n", "5: metadata.namespace: must be a name"),
        ("metadata:\n  name: shop", "metadata: shop", "3: metadata: must be a mapping"),
        ("spec:", "spec: 5\nspecs:", "5: spec: must be a mapping"),
        ("    name: shop-worker", "    name: 5", "7: spec.scaleTargetRef.name: must be a valid string"),
        ("    name: shop-worker", "    kind: Deployment", "6: spec.scaleTargetRef.name: is required"),
        ("    - type: external\n", "    - types: external\n", "9: spec.triggers[0].type: is required"),
        ("    - type: external\n", "    - external\n    - type: external\n", "9: spec.triggers[0]: must be an object"),
        ("  triggers:", "  trigger:", "5: spec.triggers: is required"),
        ("  triggers:", "  minReplicaCount: '1'\n  triggers:", "8: spec.minReplicaCount: must be a valid integer"),
        ("  triggers:", "  minReplicaCount: 1.5\n  triggers:", "8: spec.minReplicaCount: must be a valid integer"),
        ("  triggers:", "  minReplicaCount: true\n  triggers:", "8: spec.minReplicaCount: must be a valid integer"),
        ("  triggers:", "  idleReplicaCount: -1\n  triggers:", "8: spec.idleReplicaCount: must be greater than or equal to 0"),
        ("  triggers:", "  pollingInterval: 0\n  triggers:", "8: spec.pollingInterval: must be greater than or equal to 1"),
        ("  triggers:", "  fallback: {replicas: 1}\n  triggers:", "8: spec.fallback.failureThreshold: is required"),
        ("  triggers:", "  fallback:\n    failureThreshold: 1\n    replicas: x\n  triggers:", "10: spec.fallback.replicas: must be a valid integer"),
        ("  triggers:", "  advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleUp: {tolerance: 0.1}}}}\n  triggers:", '8: spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp.tolerance: must be in quotes, "0.1"'),
        ("  triggers:", "  advanced: {scalingModifiers: {formula: a, target: five}}\n  triggers:", "8: spec.advanced.scalingModifiers.target: must be a number in quotes"),
        ("  name: shop\n", "  name: shop\n  annotations: {autoscaling.keda.sh/paused-replicas: many}\n", "5: metadata.annotations.autoscaling.keda.sh/paused-replicas: must be a count"),
        ("type: external", "type: [", "11: not YAML: did not find expected ',' or ']'"),
        ("type: external", "\ttype: external", "9: not YAML: found character that cannot start any token"),
        ("spec:", "kind: ScaledObject\nspec:", "5: not YAML: kind is there twice"),
        ("spec:", "? [a]\n: b\nspec:", "5: not YAML: a key must be plain text"),
        ("name: shop\n", "name: !secret shop\n", "4: not YAML: could not determine a constructor for the tag '!secret'"),
        ("name: shop\n", "name: !!binary c2hvcA==\n", "4: not YAML: the tag tag:yaml.org,2002:binary has no place here"),
        ("name: shop\n", "name: sh\x00op\n", "4: not YAML: control characters are not allowed"),
        ("name: shop\n", "name: *shop\n", "4: not YAML: found undefined alias 'shop'"),
        ("name: shop\n", "name: &a [*a]\n", "4: an alias to what it is a part of: nested without end"),
    ],
)  # fmt: skip
def test_errors(old: str, new: str, error: str) -> None:
    assert old in SHORT
    with pytest.raises(ManifestError) as raised:
        parse(SHORT.replace(old, new, 1), "f.yaml")
    assert str(raised.value) == f"f.yaml:{error}"


@given(st.text(max_size=40), st.integers(0, len(SHORT)), st.integers(0, 30))
def test_whatever_is_written_is_read_or_told_in_one_way(text: str, at: int, cut: int) -> None:
    written = SHORT[:at] + text + SHORT[at + cut :]
    try:
        found = parse(written, "f.yaml")
    except ManifestError as error:
        place = re.match(r"f\.yaml:(\d+): ", str(error))
        assert place
        assert 1 <= int(place[1]) <= written.count("\n") + text.count("\r") + text.count("\x85") + 50
    else:
        for manifest in found.objects:
            for trigger in manifest.triggers:
                assert all(isinstance(value, str) for value in trigger.metadata.values())
