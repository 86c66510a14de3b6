"""Triggers of KEDA's own scalers in the manner of public charts: what becomes of them, and that nothing else changes."""

import asyncio
import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.manifests import File
from scaler.commands.migrate.command import Result, migrate, report
from scaler.commands.migrate.exporters import meaning
from scaler.commands.migrate.model import Left, Options
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


QUERIES = [
    ("sum(sidekiq_busy_workers) / sum(sidekiq_workers)", ("busy", "threads", 1.0, None)),
    ("sum by (app) (sidekiq_busy_workers) / on(app) group_left sum by (app) (sidekiq_workers) * 100", ("busy", "threads", 100.0, None)),
    ("(sum(sidekiq_active_workers_count) * 100) / sum(sidekiq_concurrency)", ("busy", "threads", 100.0, None)),
    ("sum(ruby_sidekiq_process_busy) / (sum(ruby_sidekiq_process_concurrency) > 0)", None),
    ("sum(sidekiq_running_jobs) / sum(sidekiq_concurrency)", ("busy", "threads", 1.0, None)),
    ('max(sidekiq_queue_latency_seconds{name="a"})', ("latency", "", 1.0, ("a",))),
    ('max(sidekiq_queue_latency{queue=~"^(a|b)$"}) * 1000', ("latency", "", 1000.0, ("a", "b"))),
    ('sidekiq_queue_backlog{queue="a"} # comment', ("waiting", "", 1.0, ("a",))),
    ('ceil(max_over_time(sidekiq_jobs_waiting_count{queue="a"}[5m]))', ("waiting", "", 1.0, ("a",))),
    ('sum(sidekiq_queue_enqueued_jobs{name="a"}) / sum(sidekiq_queue_processes{name="a"})', ("waiting", "processes", 1.0, ("a",))),
    ('{__name__="sidekiq_queue_size", name=\'a\'}', ("waiting", "", 1.0, ("a",))),
    ('sum(sidekiq_queue_size{name=~".+"})', ("waiting", "", 1.0, None)),
    ('sum(sidekiq_queue_size{name=~"a.*"})', None),
    ('sum(sidekiq_queue_size{name!="a"})', None),
    ("rate(sidekiq_processed_jobs_total[5m])", None),
    ("sum(sidekiq_queue_size offset 5m)", None),
    ('sum(sidekiq_queue_size{name="a"}) - 5', None),
    ("sum(sidekiq_queue_size", None),
    ("(" * 200, None),
    ("sum(", None),
    ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("query", "wanted"), QUERIES)
def test_queries(query: str, wanted: tuple[str, str, float, Any] | None) -> None:
    if wanted is None:
        with pytest.raises(Left):
            meaning(query)
    else:
        found = meaning(query)
        assert (found.role, found.per, found.factor, found.queues) == wanted


@given(st.text(alphabet="sum(){}[]\"'=~!,*/+-0159 abvector_:sidekiq\\\n", max_size=60))
def test_no_query_is_too_strange_to_be_left(query: str) -> None:
    with contextlib.suppress(Left):
        meaning(query)


COMMENT = st.sampled_from(["", "  # why", "\n", "   "])
EXTRA = st.sampled_from(["", "    # a comment\n", "    - type: cron\n      metadata: {timezone: UTC, start: 0 6 * * *, end: 0 7 * * *, desiredReplicas: '1'}\n", "\n"])  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> tuple[str, str]:
    """Return a file, and what of it must stay: everything in front of the triggers, and behind them."""
    key = st.sampled_from(["queueLength", "activationQueueLength", "scaleOnInFlight", "identityOwner"])
    values = {"queueLength": "7", "activationQueueLength": "1", "scaleOnInFlight": "true", "identityOwner": "operator"}
    indent = draw(st.sampled_from(["", "  ", "    "]))
    head = (
        f"{draw(st.sampled_from(['', '# first', '---']))}\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n"
        f"metadata: {{name: a, labels: {{ 'x' :   \"é😀\" }} }}\nspec:{draw(COMMENT)}\n  scaleTargetRef: {{name:  a}}\n  triggers:\n"
    )
    body = ""
    for _ in range(draw(st.integers(1, 3))):
        keys = draw(st.lists(key, unique=True))
        quote = draw(st.sampled_from(['"', "'"]))
        where = draw(st.integers(0, len(keys)))
        lines = [f"{each}: {quote}{values[each]}{quote}{draw(COMMENT).rstrip(chr(10))}" for each in keys]
        lines[where:where] = ["queueURL: a", "awsRegion: eu-west-1"]
        if draw(st.booleans()):
            body += f"{indent}  - type: aws-sqs-queue{draw(COMMENT).rstrip(chr(10))}\n{indent}    metadata:\n"
            body += "".join(f"{indent}      {line}\n" for line in lines)
        else:
            pairs = ", ".join(line.partition("  #")[0].rstrip() for line in lines)
            body += f"{indent}  - {{type: aws-sqs-queue, metadata: {{{pairs}}}}}\n"
        extra = draw(EXTRA)
        body += "".join(f"{indent}{line.removeprefix('  ')}\n" if line.strip() else "\n" for line in extra.splitlines())
    tail = draw(st.sampled_from(["", "  pollingInterval:   5\n", "---\nkind: Other\nx: [1,  2]\n"]))
    return head + body + tail, head


@given(manifests(), st.booleans())
def test_whatever_is_not_touched_stays_byte_for_byte(drawn: tuple[str, str], crlf: bool) -> None:  # noqa: FBT001 - drawn
    text, head = (part.replace("\n", "\r\n") if crlf else part for part in drawn)
    result = migrate([File("a.yaml", named=True, text=text)], Options())
    after = made(result)
    assert not any(plan.left for _, plan in result.plans()), list(report(result))
    assert after.startswith(head)
    assert after.count("#") == text.count("#")
    old, new = (list(yaml.safe_load_all(io.StringIO(each))) for each in (text, after))
    for was, now in zip(old, new, strict=True):
        if was is not None and was.get("kind") == "ScaledObject":
            for before, behind in zip(was["spec"].pop("triggers"), now["spec"].pop("triggers"), strict=True):
                if before["type"] == "aws-sqs-queue":
                    before["metadata"].pop("identityOwner", None)
                    assert before["metadata"].items() <= behind["metadata"].items()
                    assert behind["metadata"]["source"] == "sqs"
                else:
                    assert before == behind
        assert was == now
    lines = [
        line for line in text.splitlines(keepends=True) if "aws-sqs-queue" not in line and "identityOwner" not in line
    ]
    found = iter(after.splitlines(keepends=True))
    assert all(line in found for line in lines), "a line is lost, changed or moved"
    assert made(migrate([File("a.yaml", named=True, text=after)], Options())) == after


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
