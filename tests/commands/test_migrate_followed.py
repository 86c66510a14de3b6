"""What `migrate` advises is done, and then it says so no more and the trigger is migrated."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from scaler.commands.manifests import File
from scaler.commands.migrate.command import migrate, report
from scaler.commands.migrate.model import Options

OWNER = (
    "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: w, namespace: shop}\nspec:\n"
    "  scaleTargetRef: {name: w}\n  triggers:\n  - type: "
)
AUTHENTICATION = (
    "---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\nmetadata: {name: a, namespace: shop}\nspec:\n"
)
QUERY = "prometheus\n    metadata: {serverAddress: 'http://p:9090', threshold: '10', query: "
SQS = "aws-sqs-queue\n    metadata: {queueURL: q, awsRegion: eu-west-1}\n    authenticationRef: {name: a}\n"
REDIS = "redis\n    metadata: {address: 'r:6379', listName: 'queue:a'}\n    authenticationRef: {name: a}\n"
DEPTH = f"{QUERY}'sum(workqueue_depth{{name=\"x\"}})'"


@dataclass(frozen=True)
class Case:
    """A trigger, the advice for it, and the trigger or the options with which it is followed."""

    trigger: str
    advice: str
    followed: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    beside: str = ""


CASES = {
    "queues": Case(
        f"{QUERY}'sum(sidekiq_queue_size)'}}\n",
        "name those of this workload with --queues",
        options={"queues": ("a", "b")},
    ),
    "redis": Case(
        f"{QUERY}'sum(sidekiq_queue_size{{name=\"a\"}})'}}\n", "or use --redis NAME", options={"redis": "main"}
    ),
    "the list from a variable": Case(
        "redis\n    metadata: {address: 'r:6379', listNameFromEnv: L}\n",
        "write listName to have it migrated",
        "redis\n    metadata: {address: 'r:6379', listName: 'queue:a'}\n",
    ),
    "who reads the queue": Case(
        SQS,
        "give migrate its file too",
        beside=f"{AUTHENTICATION}  podIdentity: {{provider: aws, roleArn: 'arn:aws:iam::123456789012:role/r'}}\n",
    ),
    "whose password": Case(
        REDIS,
        "give migrate its file too",
        beside=f"{AUTHENTICATION}  secretTargetRef: [{{parameter: password, name: redis, key: password}}]\n",
    ),
    "a secured Prometheus": Case(
        f"{DEPTH}, authModes: bearer}}\n",
        "write source workqueue with prometheus",
        "external-push\n    metadata: {scalerAddress: 'h:9090', source: workqueue, prometheus: main, queues: x}\n",
    ),
    "a secured page": Case(
        "metrics-api\n    metadata: {url: 'https://p/metrics', format: prometheus, targetValue: '9', unsafeSsl: 'true', "
        "valueLocation: 'workqueue_depth{name=\"x\"}'}\n",
        "write source workqueue with metricsURL",
        "external-push\n    metadata: {scalerAddress: 'h:9090', source: workqueue, metricsURL: 'https://p/metrics', queues: x}\n",
    ),
    "a comment in braces": Case(
        "aws-sqs-queue\n    metadata: {queueURL: q, # mine\n      awsRegion: eu-west-1}\n",
        "write it without them first",
        "aws-sqs-queue\n    # mine\n    metadata:\n      queueURL: q\n      awsRegion: eu-west-1\n",
    ),
    "an anchor": Case(
        "aws-sqs-queue\n    metadata: &m {queueURL: q, awsRegion: eu-west-1}\n",
        "write it out first",
        "aws-sqs-queue\n    metadata: {queueURL: q, awsRegion: eu-west-1}\n",
    ),
}


def told(trigger: str, options: Options, beside: str = "") -> str:
    text = OWNER + trigger + beside
    return "\n".join(report(migrate([File("w.yaml", named=True, text=text)], options)))


@pytest.mark.parametrize("name", CASES)
def test_the_advice_is_followed(name: str) -> None:
    case = CASES[name]
    assert case.advice in told(case.trigger, Options())
    after = told(case.followed or case.trigger, Options(**case.options), case.beside)
    assert case.advice not in after
    assert "0 left as they are" in after
