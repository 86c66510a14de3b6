"""Triggers of KEDA's own scalers in the manner of public charts: what becomes of them, and that nothing else changes."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.manifests import File
from scaler.commands.migrate.command import Result, migrate, report
from scaler.commands.migrate.model import Options
from scaler.commands.validate import validate
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_store import Kind
from scaler.keda.manifests import survey
from scaler.settings import Settings

FOLDER = Path(__file__).parent / "migrate"
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


def read(path: Path) -> File:
    return File(path.name, named=True, text=path.read_bytes().decode())


def run(*arguments: str | Path, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["migrate", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def made(result: Result) -> str:
    (done,) = [each for _, each in result.files]
    return done.text


def triggers(text: str) -> list[dict[str, Any]]:
    return [
        {"type": trigger.type, **trigger.metadata}
        for owner in survey(text).objects
        for trigger in owner.triggers
        if trigger.type.startswith("external")
    ]


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
    "redis-password": [{"redis": "cache", "queueLength": "20", "activationQueueLength": "5"}],
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


def test_write_changes_the_files_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes((FOLDER / "sqs-plain.yaml").read_bytes())
    code, out, _ = run(path)
    assert (code, path.read_bytes()) == (0, (FOLDER / "sqs-plain.yaml").read_bytes())
    assert "-    - type: aws-sqs-queue\n+    - type: external-push\n" in out
    assert "1 trigger migrated, 0 left as they are" in out
    code, out, _ = run("--write", path)
    assert code == 0
    assert f"wrote {path}\n" in out
    assert "source: sqs" in path.read_text()
    assert run(path)[1] == "0 triggers migrated, 0 left as they are\n"


def test_standard_input_is_rewritten_to_standard_output() -> None:
    text = (FOLDER / "sqs-plain.yaml").read_text()
    code, out, err = run("--write", "-", text=text)
    assert code == 0
    assert out == made(migrate([File("-", named=True, text=text)], Options()))
    assert "1 trigger migrated" in err


TEMPLATE = """\
{{- range .Values.workers }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: {{ .name }}}
{{- end }}
"""


def test_templates_are_refused_with_a_word_on_rendering(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    code, _, err = run(tmp_path / "template.yaml")
    assert code == 2
    assert "helm template RELEASE CHART | scaler migrate -" in err
    code, out, err = run(tmp_path)
    assert code == 0
    assert "helm template RELEASE CHART | scaler migrate -" in err
    quoted = (FOLDER / "sqs-plain.yaml").read_text().replace('"5"', '"{{ .Values.length }}"')
    (tmp_path / "template.yaml").write_text(quoted)
    code, out, _ = run(tmp_path)
    assert code == 1
    assert "helm template RELEASE CHART | scaler migrate -" in out
    assert run("--write", tmp_path)[0] == 1
    assert (tmp_path / "template.yaml").read_text() == quoted


def test_what_the_command_line_tells() -> None:
    file = read(FOLDER / "prometheus-ratio.yaml")
    options = Options("scaler.infra:9090", "main", ("a", "b"))
    (trigger,) = triggers(made(migrate([file], options)))
    assert (trigger["scalerAddress"], trigger["redis"], trigger["queues"]) == ("scaler.infra:9090", "main", "a,b")
    assert "redisURLFromEnv" not in trigger


def test_a_wrong_command_line(tmp_path: Path) -> None:
    assert run()[0] == 2
    assert run(tmp_path / "gone.yaml")[0] == 2
    assert run("--namespace", "shop", tmp_path)[0] == 2


def test_json_stays_json() -> None:
    data = json.loads(made(migrate([read(FOLDER / "cluster-list.json")], Options())))
    (trigger,) = data["items"][0]["spec"]["triggers"]
    assert trigger["metadata"] == {
        "scalerAddress": "keda-queue-scaler.keda.svc.cluster.local:9090",
        "source": "sqs",
        "awsRegion": "eu-west-1",
        "queueURL": "orders",
    }
    assert "authenticationRef" not in trigger


@pytest.mark.parametrize("allowed", [True, False])
async def test_from_the_cluster(tmp_path: Path, allowed: bool) -> None:  # noqa: FBT001 - both cases
    """What only the API server writes is left out; without the right to read what is around, less is decided."""
    kinds = ["ScaledObject", "ScaledJob", *(["TriggerAuthentication"] if allowed else [])]
    double = KubernetesDouble(tuple(Kind("keda.sh", "v1alpha1", kind, f"{kind.lower()}s") for kind in kinds))
    url = await double.start()
    try:
        for document in yaml.safe_load_all((FOLDER / "sqs-irsa-role.yaml").read_text()):
            if document["kind"] == "ScaledObject" or allowed:
                double.put(f"{document['kind'].lower()}s", document)
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"kubernetes": {"url": url}}))
        code, out, err = await asyncio.to_thread(run, "--namespace", "shop", "--config", config, "--write")
    finally:
        await double.stop()
    assert code == 0, err
    (trigger,) = triggers(out)
    assert trigger.get("awsRoleArn") == ("arn:aws:iam::123456789012:role/keda-orders" if allowed else None)
    assert ("is not among the files" in err) != allowed
    assert not {"uid", "resourceVersion"} & yaml.safe_load(out)["metadata"].keys()


HEAD = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec:\n  scaleTargetRef: {name: a}\n  triggers:"
QUEUE = "queueURL: q\n      awsRegion: eu-west-1\n"
ODD = {
    "the reference first": (f"{HEAD}\n  - authenticationRef: {{name: x}}\n    type: aws-sqs-queue\n    metadata:\n      {QUEUE}", ""),
    "joined comment": (
        f"{HEAD}\n  - authenticationRef: {{name: x}}\n    # why\n    type: aws-sqs-queue\n    metadata:\n      {QUEUE}",
        "a comment stands between entries",
    ),
    "the metadata first": (f"{HEAD}\n  - metadata:\n      {QUEUE}    type: aws-sqs-queue", ""),
    "folded": (f"{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      identityOwner: >-\n        operator\n      {QUEUE}", ""),
    "a question mark": (f"{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      ? queueURL\n      : q\n      awsRegion: eu-west-1\n", ""),
    "many lines of braces": (f"{HEAD} [\n    {{type: aws-sqs-queue,\n     metadata: {{\n       queueURL: q,\n       awsRegion: eu-west-1,\n     }}}},\n  ]\n", ""),
    "a comment in braces": (
        f"{HEAD} [\n    {{type: aws-sqs-queue, # x\n     metadata: {{queueURL: q, awsRegion: eu-west-1}}}},\n  ]\n",
        "a comment stands between braces",
    ),
    "a merge": (
        f"{HEAD}\n  - type: kafka\n    metadata: &m\n      {QUEUE}  - type: aws-sqs-queue\n    metadata:\n      <<: *m\n",
        "takes entries over by `<<`",
    ),
    "a byte order mark": (f"\ufeff{HEAD}\n  - type: aws-sqs-queue\n    metadata:\n      {QUEUE}", ""),
    "lone dashes": (
        "".join([HEAD, *(f"\n  -\n    type: redis\n    metadata: {{address: 'r:6379', listName: 'queue:{q}'}}" for q in "ab")]),
        "does not begin on a line of its own",
    ),
    "a password": (f"{HEAD}\n  - type: redis\n    metadata: {{address: 'r:6379', password: not-told, listName: 'queue:a'}}\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_ways_to_write_it(name: str) -> None:
    text, why = ODD[name]
    result = migrate([File("a.yaml", named=True, text=text)], Options())
    said = "\n".join(report(result))
    assert (made(result) == text) == bool(why)
    assert why in said
    assert "not-told" not in said
    assert made(result).startswith("\ufeff") == text.startswith("\ufeff")
    assert made(migrate([File("a.yaml", named=True, text=made(result))], Options())) == made(result)


REDIS = f"{HEAD}\n  - type: redis\n    metricType: Value\n    metadata: {{address: 'r:6379', listName: 'queue:a'}}\n"


def test_what_a_list_becomes_is_said_where_it_is_not_the_same() -> None:
    text = (
        f"{REDIS}    authenticationRef: {{name: r}}\n---\napiVersion: keda.sh/v1alpha1\nkind: TriggerAuthentication\n"
        "metadata: {name: r}\nspec:\n  secretTargetRef:\n"
        "  - {parameter: tls, name: redis, key: tls}\n  - {parameter: ca, name: redis, key: ca}\n"
    )
    said = "\n".join(report(migrate([File("a.yaml", named=True, text=text)], Options())))
    assert "metricType Value compared all waiting jobs with 5; here it is the jobs for each process" in said
    assert "tls, ca for TLS: where that is on, the connection's url begins with rediss://" in said
    plain = migrate([File("a.yaml", named=True, text=REDIS.replace("    metricType: Value\n", ""))], Options())
    assert "metricType" not in "\n".join(report(plain))
    assert "TLS" not in "\n".join(report(plain))
