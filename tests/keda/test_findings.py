"""What is told about manifests that can be read: what KEDA passes over, refuses or takes in another way."""

import re

import pytest

from scaler.keda.findings import ManifestError
from scaler.keda.manifests import parse
from tests.keda.written import JOB, SHORT, parsed, problems


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('"5"', "5", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "5"'),
        ('"5"', "0x1F", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "0x1F"'),
        ('"5"', "true", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "true"'),
        ('"5"', "{a: 1}", "12: spec.triggers[0].metadata.queueLength: must be a string, and is a map"),
        ('"5"', "[5]", "12: spec.triggers[0].metadata.queueLength: must be a string, and is a list"),
        ('"5"', "No", '12: spec.triggers[0].metadata.queueLength: must be a string: put it in quotes, "No"'),
        ('"5"', "", "12: spec.triggers[0].metadata.queueLength: must be a string: write a value, or leave the key out"),
        ("  triggers:", "  minReplicaCout: 1\n  triggers:", "8: spec.minReplicaCout: KEDA knows no such field; did you mean minReplicaCount?"),
        ("      metadata:", "      metadat: {}\n      metadata:", "10: spec.triggers[0].metadat: KEDA knows no such field; did you mean metadata?"),
        ("  triggers:", "  zzz: 1\n  triggers:", "8: spec.zzz: KEDA knows no such field"),
        ("  triggers:", "  paused: true\n  triggers:", "8: spec.paused: KEDA knows no such field; pauses are annotations: autoscaling.keda.sh/paused"),
        ("  triggers:", "  scalingModifiers: {formula: a}\n  triggers:", "8: spec.scalingModifiers: KEDA knows no such field; did you mean spec.advanced.scalingModifiers?"),
        ("  triggers:", "  advanced: {behavior: {}}\n  triggers:", "8: spec.advanced.behavior: KEDA knows no such field; did you mean spec.advanced.horizontalPodAutoscalerConfig.behavior?"),
        ("    - type: external\n", "    - type: external\n      fallback: {}\n", "10: spec.triggers[0].fallback: KEDA knows no such field; did you mean spec.fallback?"),
        ("spec:\n", "pollingInterval: 5\nspec:\n", "5: pollingInterval: KEDA knows no such field; did you mean spec.pollingInterval?"),
        ("spec:\n", "zzz: 5\nspec:\n", "5: zzz: KEDA knows no such field"),
        ("    name: shop-worker", "    name: shop-worker\n    kind: deployment", "8: spec.scaleTargetRef.kind: apps/v1 has no deployment that can be scaled; did you mean Deployment?"),
        ("    name: shop-worker", "    name: shop-worker\n    kind: DaemonSet", "8: spec.scaleTargetRef.kind: apps/v1 has no DaemonSet that can be scaled"),
        ("    name: shop-worker", "    name: shop-worker\n    kind: Rollout", "8: spec.scaleTargetRef.kind: apps/v1 has no Rollout that can be scaled; give its apiVersion"),
        ("    name: shop-worker", "    {name: w, kind: StatefulSet, apiVersion: v1}", "7: spec.scaleTargetRef.kind: v1 has no StatefulSet that can be scaled; it is of apiVersion apps/v1"),
        ("    name: shop-worker", "    {name: w, kind: CronJob, apiVersion: batch/v1}", "7: spec.scaleTargetRef.kind: batch/v1 has no CronJob that can be scaled; write a ScaledJob"),
        ("  triggers:", "  minReplicaCount: 101\n  triggers:", "8: spec.minReplicaCount: 101 is above maxReplicaCount 100"),
        ("  triggers:", "  idleReplicaCount: 0\n  triggers:", "8: spec.idleReplicaCount: must be below minReplicaCount 0"),
        ("    - type: external\n", "    - type: external\n      metricType: Utilization\n", "10: spec.triggers[0].metricType: must be AverageValue or Value; Utilization is for cpu and memory"),
        ("    - type: external\n", "    - {type: cpu, name: a, metadata: {}}\n    - name: a\n      type: external\n", "10: spec.triggers[1].name: a is the name of another trigger"),
        ("  name: shop\n", "  name: shop\n  annotations: {autoscaling.keda.sh/paused: true}\n", '5: metadata.annotations.autoscaling.keda.sh/paused: must be a string: put it in quotes, "true"'),
        ("  triggers:", "  advanced: {scalingModifiers: {formula: '1'}}\n  triggers:", "8: spec.advanced.scalingModifiers.target: must be above 0"),
        ("  triggers:", '  advanced: {scalingModifiers: {target: "2"}}\n  triggers:', "8: spec.advanced.scalingModifiers.formula: is required in scalingModifiers"),
        ("  triggers:", '  advanced: {scalingModifiers: {formula: "max(a * 2.5 ?? 1, 0)", target: "2"}}\n  triggers:', "8: spec.advanced.scalingModifiers.formula: no trigger has the name a"),
        ("  triggers:", '  advanced: {scalingModifiers: {formula: "5 > 3", target: "2"}}\n  triggers:', "8: spec.advanced.scalingModifiers.formula: KEDA cannot work it out: it gives a condition, where KEDA needs a number"),
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


@pytest.mark.parametrize(
    "target",
    [
        "{name: w, kind: StatefulSet}",
        "{name: w, kind: ReplicationController, apiVersion: v1}",
        "{name: w, kind: Rollout, apiVersion: argoproj.io/v1alpha1}",
        "{name: w, kind: DaemonSet, apiVersion: apps.example/v1}",
    ],
)
def test_kinds_that_can_be_scaled(target: str) -> None:
    assert problems(SHORT.replace("\n    name: shop-worker", f" {target}")) == []


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
    ("given", "finding"),
    [
        ("", "5: spec.jobTargetRef: must be given: KEDA makes the Jobs of its template"),
        ("  jobTargetRef: worker\n", "6: spec.jobTargetRef: must be given: KEDA makes the Jobs of its template"),
        ("  jobTargetRef: {backoffLimit: 3}\n", "6: spec.jobTargetRef.template: must be given: the pods of the Jobs"),
    ],
)
def test_a_scaled_job_needs_a_template(given: str, finding: str) -> None:
    assert problems(JOB.replace("  jobTargetRef: {template: {}}\n", given)) == [f"f.yaml:{finding}"]


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
    assert problems(JOB + "      metricType: Value\n") == [
        "f.yaml:12: spec.triggers[0].metricType: is not allowed in a ScaledJob"
    ]
    no_triggers = re.sub(r"triggers:\n.*", "triggers: []\n", SHORT, flags=re.DOTALL)
    assert problems(no_triggers) == ["f.yaml:8: spec.triggers: needs at least one trigger"]
