"""Triggers of KEDA's own scalers in the manner of public charts: what becomes of them, and that nothing else changes."""

import os
import re
from pathlib import Path

import pytest
import yaml

from scaler.commands.migrate.command import migrate, report
from scaler.commands.migrate.model import Options
from scaler.commands.validate import validate
from scaler.settings import Settings
from tests.commands.migrated import FOLDER, made, read, run, triggers

GOLDEN = Path(__file__).parent / "golden" / "migrate"
SHAPES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".yaml", ".json"})
LEFT_ALONE = {
    "already",
    "sqs-anchors",
    "kafka-only",
    "prometheus-not-understood",
    "redis-no-sidekiq",
    "sqs-unknown-key",
}
SECRETS = {"not-told", "not-told-either"}


def test_there_are_many_shapes() -> None:
    assert len(SHAPES) >= 25


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_every_shape_word_for_word(path: Path) -> None:
    """With UPDATE_GOLDEN=1 the expected texts are written anew: read the difference before you commit it."""
    result = migrate([read(path)], Options())
    text = made(result) + "\n=====\n" + "\n".join(report(result)) + "\n"
    golden = GOLDEN / f"{path.stem}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_bytes(text.encode())
    assert text == golden.read_bytes().decode()
    assert not any(secret in "\n".join(report(result)) for secret in SECRETS)


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_the_outcome_is_valid_and_stays(path: Path, tmp_path: Path) -> None:
    first = migrate([read(path)], Options())
    new = tmp_path / path.name
    new.write_bytes(made(first).encode())
    if path.stem in LEFT_ALONE:
        assert new.read_bytes() == path.read_bytes()
    else:
        assert new.read_bytes() != path.read_bytes()
        assert [str(each) for each in validate([str(new)]).findings if not each.caution] == []
    again = migrate([read(new)], Options())
    assert made(again) == made(first)
    assert not any(plan.rewrites for _, plan in again.plans())


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_comments_and_all_that_is_not_a_trigger_stay(path: Path) -> None:
    before, after = read(path).text, made(migrate([read(path)], Options()))
    assert before.count("#") == after.count("#")
    assert ("\r\n" in before) == ("\r\n" in after)
    kept = [line for line in before.splitlines() if line.strip().startswith("#")]
    assert [line for line in after.splitlines() if line in kept] == kept
    head, *_ = before.partition("triggers")
    assert after.startswith(head)


@pytest.mark.parametrize("path", SHAPES, ids=lambda path: path.stem)
def test_the_configuration_can_be_loaded_and_grants_it(path: Path) -> None:
    lines = "\n".join(report(migrate([read(path)], Options())))
    start = lines.find("# What must be granted")
    if start < 0:
        return
    values = yaml.safe_load(lines[start:].partition("\n\n")[0])
    assert set(values or {}) <= {"config", "secretMounts"}
    Settings.model_validate(values["config"]) if values else None


def test_a_role_is_taken_from_the_authentication() -> None:
    (trigger,) = triggers(made(migrate([read(FOLDER / "sqs-irsa-role.yaml")], Options())))
    assert trigger == {
        "type": "external-push",
        "scalerAddress": "keda-queue-scaler.keda.svc.cluster.local:9090",
        "source": "sqs",
        "awsRoleArn": "arn:aws:iam::123456789012:role/keda-orders",
        "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
        "queueLength": "5",
        "activationQueueLength": "2",
        "awsRegion": "eu-west-1",
        "scaleOnInFlight": "false",
    }


WANTED: dict[str, list[dict[str, str]]] = {
    "sqs-job": [{"type": "external", "refreshSeconds": "0", "holdInFlight": "false"}],
    "sqs-formula": [{"type": "external", "queueURL": "high"}, {"type": "external", "queueURL": "low"}],
    "sqs-from-env": [{"queueURLFromEnv": "QUEUE_URL", "metricType": "Value"}],
    "sqs-unquoted-crlf": [{"queueLength": "5", "scaleOnInFlight": "false"}],
    "redis-two-lists": [
        {
            "redisURL": "redis://redis-master.shop.svc.cluster.local:6379/2",
            "queues": "default,mailers",
            "queueLength": "50",
            "deployment": "sidekiq",
        }
    ],
    "redis-password": [{"redis": "cache-shop-6380", "queueLength": "20", "activationQueueLength": "5"}],
    "redis-from-env": [{"redis": "main", "queueLength": "5"}],
    "redis-namespaced-stateful": [
        {"queues": "default", "keyPrefix": "shop:production", "hostnameRegex": "^sidekiq-[0-9]+$"}
    ],
    "redis-job": [{"type": "external", "busyRatio": "off", "queueLength": "1", "refreshSeconds": "0"}],
    "sentinel": [
        {
            "redisURL": "redis+sentinel://sentinel-0.shop.svc:26379,sentinel-1.shop.svc:26379/mymaster/1",
            "queues": "critical",
        }
    ],
    "prometheus-ratio": [{"redisURLFromEnv": "REDIS_URL", "queues": "default", "busyRatio": "0.8"}],
    "prometheus-percent-and-latency": [
        {
            "redisURLFromEnv": "SIDEKIQ_REDIS_URL",
            "queues": "critical,default",
            "busyRatio": "0.75",
            "queueLatency": "30",
        }
    ],
    "prometheus-yabeda-waiting": [{"queues": "default,mailers", "queueLength": "100", "activationQueueLength": "10"}],
    "prometheus-strech-demand": [{"queues": "default", "busyRatio": "2.5", "countWaiting": "true"}],
    "prometheus-gitlab": [{"queues": "pipeline_processing:build_queue,default", "queueLength": "50"}],
    "prometheus-beside-redis": [
        {"redisURL": "redis://redis:6379/0", "queues": "a", "queueLength": "10", "busyRatio": "off"},
        {"redisURL": "redis://redis:6379/0", "queues": "b", "queueLength": "20", "busyRatio": "off"},
        {"redisURL": "redis://redis:6379/0", "queues": "a,b", "busyRatio": "0.5"},
    ],
    "work-queue": [
        {
            "prometheusURL": "http://prometheus.monitoring.svc:9090",
            "queues": "widget",
            "selector": 'namespace="widgets"',
            "queueLength": "40",
        },
        {"metricsURL": "http://controller.widgets.svc:8080/metrics", "queues": "gadget", "queueLength": "10"},
    ],
    "metrics-api-sidekiq": [{"queues": "default", "queueLength": "25"}],
}


@pytest.mark.parametrize("name", WANTED)
def test_what_they_become(name: str) -> None:
    found = triggers(made(migrate([read(FOLDER / f"{name}.yaml")], Options())))
    assert [{key: each.get(key) for key in wanted} for each, wanted in zip(found, WANTED[name], strict=True)] == WANTED[
        name
    ]


def test_a_needless_authentication_is_named_and_one_that_is_used_is_not(tmp_path: Path) -> None:
    text = (FOLDER / "sqs-irsa-role.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text)
    assert "TriggerAuthentication shop/keda-aws" in run(tmp_path)[1]
    kept = "    - type: kafka\n      authenticationRef: {name: keda-aws}\n      metadata: {topic: a}\n"
    (tmp_path / "b.yaml").write_text(text.partition("---\n")[2].partition("  triggers:\n")[0] + "  triggers:\n" + kept)
    assert "TriggerAuthentication shop/keda-aws" not in run(tmp_path)[1]


def of_redis(*addresses: str) -> str:
    """Return the text of a ScaledObject for each address, with a password."""
    shape = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: worker-{0}, namespace: shop}}
spec:
  scaleTargetRef: {{name: worker-{0}}}
  triggers:
    - {{type: redis, metadata: {{address: "{1}", listName: "queue:a"}}, authenticationRef: {{name: unknown}}}}
"""
    return "---\n".join(shape.format(number, address) for number, address in enumerate(addresses))


def names_of(tmp_path: Path, *addresses: str) -> list[str]:
    (file := tmp_path / "all.yaml").write_text(of_redis(*addresses))
    return [trigger["redis"] for trigger in triggers(made(migrate([read(file)], Options())))]


def test_each_server_has_a_connection_of_its_own(tmp_path: Path) -> None:
    alike = "master.one.abcdef.euw1.cache.amazonaws.com", "master.one.abcdef.euw2.cache.amazonaws.com"
    addresses = ("master.one.shop.svc:6379", "master.two.shop.svc:6379", "10.0.0.1:6379", "10.0.0.1:6380")
    addresses += tuple(f"{host}:6379" for host in alike)
    names = names_of(tmp_path, *addresses)
    assert names[:4] == ["master-one-shop", "master-two-shop", "10-0-0-1", "10-0-0-1-6380"]
    assert len(set(names)) == len(addresses)
    said = run(tmp_path / "all.yaml")[1]
    for name, address in zip(names, addresses, strict=True):
        assert f"    {name}:\n      url: redis://{address}/0\n" in said


def test_different_connections_under_one_name_are_told(tmp_path: Path) -> None:
    (file := tmp_path / "all.yaml").write_text(of_redis("a.example:6379", "b.example:6379"))
    said = run(file, "--redis", "cache")[1]
    assert "different connections are called cache (redis://a.example:6379/0, redis://b.example:6379/0)" in said
    assert "CAUTION" not in run(file)[1]


def test_a_connection_has_a_name_that_the_chart_can_mount(tmp_path: Path) -> None:
    (name,) = names_of(tmp_path, f"{'a' * 43}_b{'c' * 18}.example:6379")
    assert re.fullmatch(r"a{26}-[0-9a-f]{8}", name)
