"""The command line of `migrate`: files, standard input, templates and the cluster."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from scaler.commands.manifests import File
from scaler.commands.migrate.command import migrate
from scaler.commands.migrate.model import Options
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_store import Kind
from tests.commands.migrated import FOLDER, made, read, run, triggers


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
