"""How KEDA reaches the scaler: what a trigger says about it that does nothing, or leads elsewhere."""

import pytest

from scaler.commands.traps import of_connection
from scaler.keda.scalable import AuthenticationRef, Trigger
from scaler.sources.triggers import check


def traps(metadata: dict[str, str], ref: AuthenticationRef | None = None) -> list[str]:
    trigger = Trigger(type="external", metadata={"scalerAddress": "s:9090", **metadata}, authentication_ref=ref)
    return [f"{trap.key}: {trap.text}" for trap in of_connection(trigger)]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({}, []),
        ({"enableTLS": "true", "unsafeSsl": "true"}, []),
        ({"enableTLS": "false", "unsafeSsl": "false"}, []),
        (
            {"scalerAddress": "s:9091"},
            ["scalerAddress: port 9091 is by default that of the status page; gRPC has 9090"],
        ),
        ({"scalerAddress": "dns:///s.keda:9092"}, ["scalerAddress: port 9092 is by default that of health checks"]),
        ({"scalerAddress": "s:19091"}, []),
        ({"caCert": "x", "enableTLS": "true"}, ["caCert: KEDA takes it from a TriggerAuthentication alone; name one"]),
        ({"tlsClientCert": "x", "tlsClientKey": "y"}, ["tlsClientCert: KEDA takes it", "tlsClientKey: KEDA takes it"]),
        ({"enableTLS": "yes"}, ['enableTLS: KEDA refuses it; write "true" or "false"']),
        ({"unsafeSsl": "on", "enableTLS": "true"}, ['unsafeSsl: KEDA refuses it; write "true" or "false"']),
        ({"unsafeSsl": "1", "enableTLS": "True"}, []),
        ({"unsafeSsl": "True"}, ["unsafeSsl: it is about the way from KEDA"]),
        (
            {"source": "sidekiq", "enableTLS": "true"},
            ["enableTLS: it is about the way from KEDA to the scaler; TLS on"],
        ),
        ({"source": "sidekiq", "enableTLS": "true", "unsafeSsl": "true"}, []),
        ({"source": "sqs", "enableTLS": "true"}, []),
        ({"unsafeSsl": "true"}, ["unsafeSsl: it is about the way from KEDA to the scaler, and does nothing without"]),
    ],
)
def test_traps(metadata: dict[str, str], told: list[str]) -> None:
    found = traps(metadata)
    assert len(found) == len(told)
    assert all(each.startswith(text) for each, text in zip(found, told, strict=True))


def test_client_certificates_of_an_authentication_bring_tls() -> None:
    assert traps({"unsafeSsl": "true"}, AuthenticationRef(name="keda-queue-scaler")) == []


@pytest.mark.parametrize(
    ("metadata", "key", "told"),
    [
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "namespace", "write keyPrefix"),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "tls", "write rediss:// in the URL"),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "db", "host, port, database, user"),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "targetValue", "write busyRatio for a share"),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "minReplicaCount", "stands under spec"),
        ({"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1"}, "pollingInterval", "stands under spec"),
        ({"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1"}, "externalId", "beside the role in aws.roles"),
        ({"source": "sqs", "awsRegion": "eu-west-1"}, "queueName", "write queueURL, for which the name will do"),
        ({"source": "workqueue", "metricsURL": "http://a"}, "queueName", "write queues"),
        ({"source": "workqueue", "metricsURL": "http://a"}, "namespace", "write podNamespace"),
        ({"source": "workqueue", "metricsURL": "http://a"}, "caFile", "under `pages`"),
        ({"source": "workqueue", "prometheusURL": "http://a"}, "customHeaders", "under `prometheus`"),
        ({"source": "argocd", "component": "repo-server"}, "bearerToken", "under `pages`"),
        ({"source": "argocd", "component": "repo-server"}, "algorithm", "write shardingAlgorithm"),
        ({"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1"}, "awsAccessKeyId", "with its own identity"),
        ({"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1"}, "queueUrl", "did you mean queueURL?"),
        (
            {"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1"},
            "activationValue",
            "write activationQueueLength",
        ),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "queueName", "write queues"),
        ({"source": "sidekiq", "redis": "main", "queues": "default"}, "maxLatency", "write queueLatency"),
        (
            {"source": "workqueue", "prometheusURL": "http://a"},
            "cortexOrgID",
            "write headers or parameters of a server",
        ),
        ({"source": "workqueue", "prometheusURL": "http://a"}, "ignoreNullValues", "what cannot be read is an error"),
        ({"source": "flux", "controller": "helm-controller"}, "threshold", "write pendingObjects"),
        ({"source": "flux", "controller": "helm-controller"}, "serverAddress", "from the Kubernetes API"),
        ({"source": "flux", "controller": "helm-controller"}, "shardKey", "write shard for the value of the label"),
        ({"source": "flux", "controller": "helm-controller"}, "namespace", "write namespaces"),
        ({"source": "flux", "controller": "helm-controller"}, "tlsCertFile", "from a TriggerAuthentication, as caCert"),
        ({"source": "flux", "controller": "helm-controller"}, "enableTls", "did you mean enableTLS?"),
        ({"source": "flux", "controller": "helm-controller"}, "insecureSkipVerify", "write unsafeSsl beside enableTLS"),
    ],
)
def test_keys_that_people_bring_along_are_told_their_place(metadata: dict[str, str], key: str, told: str) -> None:
    _, problems = check({**metadata, key: "1"}, "shop")
    (problem,) = (each for each in problems if each.key == key)
    assert told in problem.text


@pytest.mark.parametrize("key", ["scalerAddress", "enableTLS", "unsafeSsl"])
def test_keys_that_keda_reads_itself_come_from_no_environment(key: str) -> None:
    """KEDA pkg/scalers/external_scaler.go takes them from the metadata alone, so `enableTLSFromEnv` has no effect."""
    metadata = {"source": "flux", "controller": "helm-controller", f"{key}FromEnv": "VARIABLE"}
    _, (problem,) = check(metadata, "shop", [f"{key}FromEnv"])
    assert (problem.key, "never from the environment" in problem.text) == (key, True)
