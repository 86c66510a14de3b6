import re
from typing import Any

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

SHORT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: shop
spec:
  scaleTargetRef:
    name: shop-worker
  triggers:
    - type: external
      metadata:
        scalerAddress: scaler:9090
        queueLength: "5"
"""

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


def parsed(text: str) -> Any:
    manifests = parse(text, "f.yaml")
    assert manifests.findings == ()
    (found,) = manifests.objects
    return found


def problems(text: str) -> list[str]:
    return [str(finding) for finding in parse(text, "f.yaml").findings]


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
    ("old", "new", "finding"),
    [
        ('"5"', "5", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "5"'),
        ('"5"', "0x1F", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "0x1F"'),
        ('"5"', "true", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "true"'),
        ('"5"', "No", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "No"'),
        ('"5"', "", '12: spec.triggers[0].metadata.queueLength: must be a string: write "" or leave the key out'),
        ("  triggers:", "  minReplicaCout: 1\n  triggers:", "8: spec.minReplicaCout: KEDA knows no such field; did you mean minReplicaCount?"),
        ("      metadata:", "      metadat: {}\n      metadata:", "10: spec.triggers[0].metadat: KEDA knows no such field; did you mean metadata?"),
        ("  triggers:", "  zzz: 1\n  triggers:", "8: spec.zzz: KEDA knows no such field"),
        ("  triggers:", "  minReplicaCount: 101\n  triggers:", "8: spec.minReplicaCount: 101 is above maxReplicaCount 100"),
        ("  triggers:", "  idleReplicaCount: 0\n  triggers:", "8: spec.idleReplicaCount: must be below minReplicaCount 0"),
        ("    - type: external\n", "    - type: external\n      metricType: Utilization\n", "10: spec.triggers[0].metricType: must be AverageValue or Value; Utilization is for cpu and memory"),
        ("    - type: external\n", "    - {type: cpu, name: a, metadata: {}}\n    - name: a\n      type: external\n", "10: spec.triggers[1].name: a is the name of another trigger"),
        ("  name: shop\n", "  name: shop\n  annotations: {autoscaling.keda.sh/paused: true}\n", '5: metadata.annotations.autoscaling.keda.sh/paused: must be a string: put it in quotes, "true"'),
        ("  triggers:", "  advanced: {scalingModifiers: {formula: '1'}}\n  triggers:", "8: spec.advanced.scalingModifiers.target: must be above 0"),
        ("  triggers:", '  advanced: {scalingModifiers: {target: "2"}}\n  triggers:', "8: spec.advanced.scalingModifiers.formula: is required in scalingModifiers"),
        ("  triggers:", '  advanced: {scalingModifiers: {formula: a * 2.5 ?? max(0, nil), target: "2"}}\n  triggers:', "8: spec.advanced.scalingModifiers.formula: no trigger has the name a"),
        ("  triggers:", "  fallback: {replicas: 1, failureThreshold: 1, behavior: scalingModifiers}\n  triggers:", "8: spec.fallback.behavior: scalingModifiers needs spec.advanced.scalingModifiers.formula"),
        ("  name: shop\n", f"  name: {'s' * 64}\n", "4: metadata.name: KEDA makes a label of it, so it may have 63 characters at most"),
        ("  name: shop\n", '  name: shop\n  annotations: {autoscaling.keda.sh/paused-scaledown: "true", other.io/paused: "true"}\n', "5: metadata.annotations.autoscaling.keda.sh/paused-scaledown: KEDA 2.20 knows no such annotation of a ScaledObject; did you mean autoscaling.keda.sh/paused-scale-in?"),
        ("  name: shop\n", '  name: shop\n  annotations: {scaledobject.keda.sh/transfer-hpa-ownership: "true"}\n', "5: metadata.annotations.scaledobject.keda.sh/transfer-hpa-ownership: needs the name of that HPA as spec.advanced.horizontalPodAutoscalerConfig.name"),
        ("  name: shop\n", '  name: shop\n  annotations: {scaledobject.keda.sh/transfer-hpa-ownership: "True"}\n', '5: metadata.annotations.scaledobject.keda.sh/transfer-hpa-ownership: KEDA goes by "true" alone'),
        ("  name: shop\n", '  name: shop\n  annotations: {autoscaling.keda.sh/transfer-hpa-ownership: "true"}\n', "5: metadata.annotations.autoscaling.keda.sh/transfer-hpa-ownership: KEDA passes over it; did you mean scaledobject.keda.sh/transfer-hpa-ownership?"),
        ("  name: shop\n", '  name: shop\n  annotations: {keda.sh/paused: "true"}\n', "5: metadata.annotations.keda.sh/paused: KEDA passes over it; did you mean autoscaling.keda.sh/paused?"),
        ("  name: shop\n", '  name: shop\n  annotations: {scaledobject.keda.sh/paused-scale-in: "true"}\n', "5: metadata.annotations.scaledobject.keda.sh/paused-scale-in: KEDA passes over it; did you mean autoscaling.keda.sh/paused-scale-in?"),
        ("  name: shop\n", '  name: shop\n  annotations: {force-activation: "true"}\n', "5: metadata.annotations.force-activation: KEDA passes over it; did you mean autoscaling.keda.sh/force-activation?"),
        ("  name: shop\n", '  name: shop\n  labels: {autoscaling.keda.sh/paused: "true", app: shop}\n', "5: metadata.labels.autoscaling.keda.sh/paused: KEDA passes over it as a label; write it under annotations"),
        ("kind: ScaledObject", "kind: ScaledJob", "6: spec.scaleTargetRef: KEDA knows no such field; did you mean jobTargetRef?"),
    ],
)  # fmt: skip
def test_findings(old: str, new: str, finding: str) -> None:
    """Each leaves an object that can be read."""
    assert old in SHORT
    assert problems(SHORT.replace(old, new, 1)) == [f"f.yaml:{finding}"]


def test_an_hpa_that_is_taken_over_by_its_name() -> None:
    text = SHORT.replace(
        "  name: shop\n", '  name: shop\n  annotations: {scaledobject.keda.sh/transfer-hpa-ownership: "true"}\n'
    )
    assert problems(text + "  advanced: {horizontalPodAutoscalerConfig: {name: shop}}\n") == []


def test_a_dash_in_a_name_is_a_subtraction_to_a_formula() -> None:
    modifiers = '  advanced: {scalingModifiers: {formula: my-queue + 1, target: "2"}}\n'
    text = SHORT.replace("    - type: external\n", "    - name: my-queue\n      type: external\n")
    assert problems(text.replace("  triggers:", modifiers + "  triggers:")) == [
        f"f.yaml:8: spec.advanced.scalingModifiers.formula: no trigger has the name {word}; in a formula a name must "
        "have no dash"
        for word in ("my", "queue")
    ]


def test_what_a_finding_leaves_of_metadata() -> None:
    text = SHORT.replace('"5"', "5") + "        scaleOnInFlight: false\n        empty:\n        day: 2026-01-01\n"
    found = parse(text)
    assert found.objects[0].triggers[0].metadata == {
        "scalerAddress": "scaler:9090",
        "queueLength": "5",
        "scaleOnInFlight": "false",
        "day": "2026-01-01",  # a date is text to Kubernetes
    }
    assert [finding.line for finding in found.findings] == [12, 13, 14]


JOB = SHORT.replace("kind: ScaledObject", "kind: ScaledJob").replace("  scaleTargetRef:\n    name: shop-worker\n", "")


@pytest.mark.parametrize(
    ("strategy", "finding"),
    [
        ("{strategy: accurate, multipleScalersCalculation: sum, pendingPodConditions: [Ready]}", ""),
        ('{strategy: custom, customScalingQueueLengthDeduction: 1, customScalingRunningJobPercentage: "0.5"}', ""),
        ('{strategy: custom, customScalingRunningJobPercentage: "0.5"}', "strategy: custom needs customScalingQueueLengthDeduction, if only 0: KEDA fails without it"),
        ("{strategy: custom}", 'customScalingRunningJobPercentage: must be a number such as "0.5", or KEDA goes by default'),
    ],
)  # fmt: skip
def test_strategies_of_scaled_jobs(strategy: str, finding: str) -> None:
    expected = [f"f.yaml:6: spec.scalingStrategy.{finding}"] if finding else []
    assert problems(JOB.replace("spec:\n", f"spec:\n  scalingStrategy: {strategy}\n")) == expected


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("scalingStrategy: {strategy: Eager}", "scalingStrategy.strategy: must be 'default', 'custom', 'accurate' or 'eager'"),
        ('scalingStrategy: {strategy: ""}', "scalingStrategy.strategy: must be 'default', 'custom', 'accurate' or 'eager'"),
        ("scalingStrategy: {multipleScalersCalculation: mean}", "scalingStrategy.multipleScalersCalculation: must be 'max', 'min', 'avg' or 'sum'"),
        ("rollout: {strategy: slow}", "rollout.strategy: must be 'gradual' or 'immediate'"),
        ("rolloutStrategy: slow", "rolloutStrategy: must be 'gradual' or 'immediate'"),
        ("successfulJobsHistoryLimit: -1", "successfulJobsHistoryLimit: must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_the_api_server_refuses_in_a_scaled_job(line: str, error: str) -> None:
    with pytest.raises(ManifestError) as raised:
        parse(JOB.replace("spec:\n", f"spec:\n  {line}\n"), "f.yaml")
    assert str(raised.value) == f"f.yaml:6: spec.{error}"


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


def test_an_empty_metric_type_is_none() -> None:
    """A template with nothing to fill in."""
    text = SHORT.replace("    - type: external\n", '    - type: external\n      metricType: ""\n')
    assert parsed(text).triggers[0].metric_type is None
    assert problems(text) == []


def test_an_idle_count_of_0_beside_a_minimum_of_0_that_is_written() -> None:
    """KEDA then compares it with the HPA's minimum, which is 1."""
    text = SHORT.replace("  triggers:", "  minReplicaCount: 0\n  idleReplicaCount: 0\n  triggers:")
    assert problems(text) == []


def test_of_the_annotations_a_scaled_job_knows_only_paused() -> None:
    held = JOB.replace("  name: shop\n", '  name: shop\n  annotations: {autoscaling.keda.sh/paused: "true"}\n')
    assert parsed(held).paused
    assert problems(held) == []
    for annotation in ("paused-replicas", "paused-scale-in", "force-activation"):
        (found,) = problems(held.replace("sh/paused", f"sh/{annotation}"))
        assert f"{annotation}: KEDA 2.20 knows no such annotation of a ScaledJob" in found


def test_more_findings() -> None:
    job = SHORT.replace("kind: ScaledObject", "kind: ScaledJob").replace(
        "  scaleTargetRef:\n    name: shop-worker\n", ""
    )
    assert problems(job + "      metricType: Value\n") == [
        "f.yaml:11: spec.triggers[0].metricType: is not allowed in a ScaledJob"
    ]
    no_triggers = re.sub(r"triggers:\n.*", "triggers: []\n", SHORT, flags=re.DOTALL)
    assert problems(no_triggers) == ["f.yaml:8: spec.triggers: needs at least one trigger"]


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
