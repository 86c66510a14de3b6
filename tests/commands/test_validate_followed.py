"""What `validate` advises is done, and then it says so no more, nor anything else."""

from pathlib import Path

import pytest

from tests.commands.validated import found

HEAD = """\
apiVersion: keda.sh/v1alpha1
kind: {kind}
metadata: {{name: orders, namespace: shop}}
spec:
  {target}
  cooldownPeriod: 120
  maxReplicaCount: 5
"""
OBJECT = HEAD.format(kind="ScaledObject", target="scaleTargetRef: {name: worker}")
AWAKE = OBJECT.replace("cooldownPeriod: 120", "minReplicaCount: 1")
JOB = HEAD.replace("  cooldownPeriod: 120\n", "  rollout: {{strategy: gradual}}\n").format(
    kind="ScaledJob", target="jobTargetRef: {template: {spec: {containers: [{name: c, image: i}]}}}"
)


def trigger(metadata: str, kind: str = "external-push", more: str = "", head: str = OBJECT) -> str:
    return (
        f"{head}  triggers:\n  - type: {kind}\n{more}    metadata: {{scalerAddress: 'scaler.keda:9090', {metadata}}}\n"
    )


SQS = "source: sqs, queueURL: orders, awsRegion: eu-west-1"
SIDEKIQ = "source: sidekiq, redis: main, queues: default"
WORKQUEUE = "source: workqueue, metricsURL: 'http://w/metrics', queues: q"
PROMETHEUS = "source: workqueue, prometheus: main, queues: q"
MODIFIERS = "  advanced: {scalingModifiers: {formula: a + 1, target: '5'}}\n"
FALLBACK = "  fallback: {failureThreshold: 3, replicas: 2}\n"

DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: worker, namespace: shop}\nspec: %s\n"
HPA = (
    "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: %s, namespace: shop}\n"
    "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}, maxReplicas: 3}\n"
)

FOLLOWED = [
    ("metricType", "make both the same", trigger(SQS, more="    metricType: Value\n"),
     trigger(f"{SQS}, metricType: Value", more="    metricType: Value\n")),
    ("useCachedMetrics", "with external-push the HPA keeps seeing", trigger(SQS, more="    useCachedMetrics: true\n"),
     trigger(SQS, "external", more="    useCachedMetrics: true\n")),
    ("type", "use type external", trigger(f"{SQS}, refreshSeconds: '0'", head=JOB),
     trigger(f"{SQS}, refreshSeconds: '0'", "external", head=JOB)),
    ("refreshSeconds", 'write refreshSeconds: "0"', trigger(SQS, "external", head=JOB),
     trigger(f'{SQS}, refreshSeconds: "0"', "external", head=JOB)),
    ("metadata", "write busyRatio", trigger(f"{SIDEKIQ}, queueLength: '1', refreshSeconds: '0'", "external", head=JOB),
     trigger(f"{SIDEKIQ}, queueLength: '1', busyRatio: \"off\", refreshSeconds: '0'", "external", head=JOB)),
    ("scalerAddress", "gRPC has 9090", trigger(SQS).replace(":9090", ":9091"), trigger(SQS)),
    ("caCert", "name one with authenticationRef", trigger(f"{SQS}, caCert: x"),
     trigger(SQS, more="    authenticationRef: {name: keda-queue-scaler}\n")),
    ("enableTLS", 'write "true" or "false"', trigger(f"{SQS}, enableTLS: 'yes'"), trigger(f'{SQS}, enableTLS: "true"')),
    ("unsafeSsl", 'without enableTLS: "true"', trigger(f"{SQS}, unsafeSsl: 'true'"),
     trigger(f"{SQS}, unsafeSsl: 'true', enableTLS: \"true\"")),
    ("authenticationRef", "remove authenticationRef", trigger(SQS, more="    authenticationRef: {name: aws}\n"),
     trigger(SQS)),
    ("idleReplicaCount", "use 0, or leave it out",
     trigger(SQS, head=f"{OBJECT}  minReplicaCount: 2\n  idleReplicaCount: 1\n"),
     trigger(SQS, head=f"{OBJECT}  minReplicaCount: 2\n  idleReplicaCount: 0\n")),
    ("fallback", "use 1 or more", trigger(SQS, head=f"{OBJECT}  fallback: {{failureThreshold: 3, replicas: 0}}\n"),
     trigger(SQS, head=f"{OBJECT}  fallback: {{failureThreshold: 3, replicas: 1}}\n")),
    ("rollout", "write rollout: {strategy: gradual}",
     trigger(f"{SQS}, refreshSeconds: '0'", "external", head=JOB.replace("  rollout: {strategy: gradual}\n", "")),
     trigger(f"{SQS}, refreshSeconds: '0'", "external", head=JOB)),
    ("a rival", "make it one ScaledObject with the triggers of both",
     f"{trigger(SQS)}---\n{trigger(SQS).replace('name: orders', 'name: others')}", trigger(SQS)),
    ("replicas in Git", "leave spec.replicas out there", f"{trigger(SQS)}---\n{DEPLOYMENT % '{replicas: 2}'}",
     f"{trigger(SQS)}---\n{DEPLOYMENT % '{}'}"),
    ("an HPA", "delete this one", f"{trigger(SQS)}---\n{HPA % 'worker'}", trigger(SQS)),
    ("fallback beside a formula", "use a whole number",
     trigger(SQS, head=f"{AWAKE}{FALLBACK}{MODIFIERS.replace('5', '5.5')}", more="    name: a\n"),
     trigger(SQS, head=f"{AWAKE}{FALLBACK}{MODIFIERS}", more="    name: a\n")),
    ("scalingModifiers", "with minReplicaCount 1 or more it need not",
     trigger(SQS, head=OBJECT + MODIFIERS, more="    name: a\n"),
     trigger(SQS, head=f"{AWAKE}{MODIFIERS}", more="    name: a\n")),
    ("cooldownPeriod", "use 60 or more", trigger(SQS).replace("cooldownPeriod: 120", "cooldownPeriod: 30"),
     trigger(SQS).replace("cooldownPeriod: 120", "cooldownPeriod: 60")),
    ("queueLength", "put it in quotes", trigger(f"{SQS}, queueLength: 5"), trigger(f'{SQS}, queueLength: "5"')),
    ("deployment", "instead of it write", trigger(f"{SIDEKIQ}, deployment: worker").replace(
        "{name: worker}", "{name: worker, kind: StatefulSet}"),
     trigger(f"{SIDEKIQ}, hostnameRegex: '^worker-[0-9]+$'").replace("{name: worker}", "{name: worker, kind: StatefulSet}")),
    ("another deployment", "write deployment: worker", trigger(f"{SIDEKIQ}, deployment: w"),
     trigger(f"{SIDEKIQ}, deployment: worker")),
    ("spareBusy", "so leave spareBusy out", trigger(f"{SIDEKIQ}, spareBusy: hold").replace(
        "{name: worker}", "{name: worker, kind: StatefulSet}"),
     trigger(SIDEKIQ).replace("{name: worker}", "{name: worker, kind: StatefulSet}")),
    ("one metric each", "write prefer or leave it out",
     trigger(f"{SIDEKIQ}, spareBusy: hold", head=f"{AWAKE}{MODIFIERS}", more="    name: a\n"),
     trigger(f"{SIDEKIQ}, spareBusy: prefer", head=f"{AWAKE}{MODIFIERS}", more="    name: a\n")),
    ("pages", "give only one of them", trigger(f"{WORKQUEUE}, prometheus: main"),
     trigger(WORKQUEUE, head=AWAKE)),
    ("a controller asleep", "write minReplicaCount: 1", trigger(WORKQUEUE), trigger(WORKQUEUE, head=AWAKE)),
    ("a label of the series", "leave it out, and name the queue in queues",
     trigger(f"{PROMETHEUS}, selector: 'job=\"w\",name=\"q\"'", head=AWAKE),
     trigger(f"{PROMETHEUS}, selector: 'job=\"w\"'", head=AWAKE)),
    ("cooldown awake", "leave it out", trigger(SQS, head=f"{OBJECT}  minReplicaCount: 1\n"), trigger(SQS, head=AWAKE)),
    ("shards", "use 1, and shards for more",
     trigger("source: flux, controller: kustomize-controller"),
     trigger("source: flux, controller: kustomize-controller").replace("maxReplicaCount: 5", "maxReplicaCount: 1")),
    ("a second replica", "gains nothing from a second replica; use 1",
     trigger("source: argocd, component: applicationset-controller"),
     trigger("source: argocd, component: applicationset-controller").replace("maxReplicaCount: 5", "maxReplicaCount: 1")),
    ("a role", "set awsRoleArn", trigger(f"{SQS}, identityOwner: pod"),
     trigger(f"{SQS}, awsRoleArn: 'arn:aws:iam::123456789012:role/keda'")),
    ("a scheme", "write HOST:PORT", trigger(SQS).replace("'scaler.keda:9090'", "'https://scaler.keda:9090'"),
     trigger(f'{SQS}, enableTLS: "true"')),
]  # fmt: skip


@pytest.mark.parametrize(("advice", "before", "after"), [pytest.param(*each, id=name) for name, *each in FOLLOWED])
def test_the_advice_is_followed(advice: str, before: str, after: str, tmp_path: Path) -> None:
    assert any(advice in finding for finding in found(tmp_path, before)), found(tmp_path, before)
    assert found(tmp_path, after) == []


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param(HPA % "keda-hpa-orders", id="KEDA's own"),
        pytest.param(HPA.replace("name: worker", "name: web") % "web", id="of another workload"),
        pytest.param(HPA.replace("kind: Deployment", "kind: StatefulSet") % "worker", id="of another kind"),
        pytest.param(HPA.replace("namespace: shop", "namespace: other") % "worker", id="of another namespace"),
        pytest.param("kind: HorizontalPodAutoscaler\nmetadata: {name: 7}\nspec: {scaleTargetRef: []}\n", id="no HPA"),
        pytest.param(
            "kind: Deployment\nmetadata: {name: worker, namespace: shop}\nspec: {replicas: 1}\n", id="no version"
        ),
        pytest.param("kind: Deployment\nspec: 7\n", id="no Deployment"),
        pytest.param(
            DEPLOYMENT.replace("shop}", "shop, uid: 0a1b}") % "{replicas: 2}", id="as the cluster has it at present"
        ),
    ],
)
def test_what_sets_no_replicas_of_it_draws_no_remark(beside: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"{trigger(SQS)}---\n{beside}") == []
