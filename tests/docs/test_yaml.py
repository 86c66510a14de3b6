"""Every YAML block of the pages is taken by whom it is for: an API server, KEDA, the chart, the server, the parser."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scaler.settings import load
from scaler.sources import SOURCES
from scaler.sources.triggers import parse
from tools import api_server
from tools.keys import keys
from tools.markdown import Block, blocks

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "samples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
CHART = ROOT / "charts" / "keda-queue-scaler"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
KEYS = {key.name for source in SOURCES.values() for key in keys(source.trigger)} | {"scalerAddress"}
PARTS = {"spec", "metadata", "authenticationRef", "advanced", "fallback", "extraArgs"}
"""Of a manifest or a trigger; `extraArgs` alone is of KEDA's chart."""
ENVIRONMENT = {"REDIS_URL": "rediss://redis.shop.svc:6379/0"}


def shown(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.name}:{block.line}")
        for page in PAGES
        for block in blocks(page.read_text(), language)
    ]


def check_triggers(triggers: list[dict[str, Any]], namespace: str) -> None:
    for trigger in triggers:
        metadata = trigger["metadata"]
        if trigger["type"] in {"external", "external-push"} and "source" in metadata:
            sent = {key: ENVIRONMENT[value] if key.endswith("FromEnv") else value for key, value in metadata.items()}
            assert all(isinstance(value, str) for value in sent.values()), "KEDA takes texts only"
            parse(sent, namespace)


def check_manifest(manifest: dict[str, Any]) -> None:
    group = manifest["apiVersion"].partition("/")[0]
    if group == "kustomize.config.k8s.io":
        assert manifest["kind"] == "Kustomization"
    else:
        api_server.validate(manifest)
    if manifest["kind"] in {"ScaledObject", "ScaledJob"}:
        check_triggers(manifest["spec"]["triggers"], manifest["metadata"].get("namespace", "shop"))


def takes_values(document: dict[str, Any]) -> bool:
    return jsonschema.Draft7Validator(SCHEMA).is_valid(document)


def takes_settings(document: dict[str, Any], tmp_path: Path) -> bool:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(document))
    try:
        load(file)
    except Exception:  # noqa: BLE001 - whatever it is, it is not taken
        return False
    return True


def check_hook(document: dict[str, Any]) -> None:
    """A `.pre-commit-config.yaml`."""
    known = {hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    for repository in document["repos"]:
        assert re.fullmatch(r"v\d+\.\d+\.\d+", repository["rev"])
        assert {hook["id"] for hook in repository["hooks"]} <= known


def check_step(step: dict[str, Any]) -> None:
    """A step of a workflow that uses `action.yml`."""
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    if step.get("uses", "").startswith("keda-queue-scaler/"):
        assert set(step.get("with", {})) <= set(inputs)


def check_yaml(document: Any, tmp_path: Path) -> None:
    """Check `document` as they would for whom it is; fails for what is for nobody."""
    if isinstance(document, dict):
        check_mapping(document, tmp_path)
    elif all("uses" in item or "run" in item for item in document):
        for step in document:
            check_step(step)
    else:
        check_triggers(document, "shop")


def check_mapping(document: dict[str, Any], tmp_path: Path) -> None:
    names = set(document)
    if {"apiVersion", "kind"} <= names:
        check_manifest(document)
    elif names == {"triggers"}:
        check_triggers(document["triggers"], "shop")
    elif names == {"repos"}:
        check_hook(document)
    elif not {name.removesuffix("FromEnv") for name in names} <= KEYS:
        taken = names <= PARTS or takes_values(document) or takes_settings(document, tmp_path)
        assert taken, f"neither values, nor configuration, nor a manifest, nor metadata: {sorted(names)}"


@pytest.mark.parametrize("block", shown("yaml"))
def test_yaml_is_taken_by_whom_it_is_for(block: Block, tmp_path: Path) -> None:
    for document in yaml.safe_load_all(block.text):
        check_yaml(document, tmp_path)


@pytest.mark.parametrize("block", shown("json"))
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize(
    "text",
    [
        "config: {acess: []}",
        "replicas: two",
        "acess: []",
        "triggers: [{type: external, metadata: {source: sqs, queue: a}}]",
        "triggers: [{type: external, metadata: {source: sqs, queueURL: a, awsRegion: eu-west-1, queueLength: 5}}]",
        "queueUrl: a",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replica: 1}}",
    ],
)
def test_what_nobody_takes_fails(text: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".+"):
        check_yaml(yaml.safe_load(text), tmp_path)
