"""The samples: what the API server, KEDA and the parser take, and what each source needs to be scaled well."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.clients.aws.settings import AwsSettings
from scaler.commands.validate import validate
from scaler.settings import Settings
from scaler.sources import SOURCES
from scaler.sources.access import Access
from scaler.sources.base import Trigger
from scaler.sources.redis_keys import RedisKeys
from scaler.sources.triggers import parse
from tools import api_server, binaries

SAMPLES = Path(__file__).parents[2] / "samples"
FILES = sorted(path for path in SAMPLES.glob("*.yaml") if path.name != "kustomization.yaml")
ENVIRONMENT = {"REDIS_URL": "rediss://:secret@redis.shop.svc:6379/0"}
"""What the Secrets that the workloads refer to would hold."""
Manifest = dict[str, Any]


def manifests(*files: Path) -> list[Manifest]:
    return [document for file in files for document in yaml.load_all(file.read_text(), yaml.CSafeLoader) if document]


def scaled() -> list[Manifest]:
    return [each for each in manifests(*FILES) if each["kind"] in {"ScaledObject", "ScaledJob"}]


def of(kind: str) -> list[Any]:
    return [pytest.param(each, id=each["metadata"]["name"]) for each in manifests(*FILES) if each["kind"] == kind]


def triggers(manifest: Manifest) -> Iterator[tuple[Manifest, Trigger]]:
    """Yield each trigger with what the scaler makes of it, as KEDA would send it."""
    for trigger in manifest["spec"]["triggers"]:
        metadata = {
            key: ENVIRONMENT[value] if key.endswith("FromEnv") else value for key, value in trigger["metadata"].items()
        }
        yield trigger, parse(metadata, manifest["metadata"]["namespace"])


@pytest.mark.parametrize("folder", [SAMPLES, SAMPLES / "gitops"], ids=["samples", "gitops"])
def test_kubectl_puts_them_together(folder: Path) -> None:
    kubectl = binaries.binary(binaries.KUBECTL, "kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = sorted(path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    together = list(yaml.safe_load_all(done.stdout))
    assert sorted(each["metadata"]["name"] for each in together) == sorted(
        each["metadata"]["name"] for each in manifests(*files)
    )


@pytest.mark.parametrize("path", [*FILES, SAMPLES / "gitops" / "flux-helmrelease.yaml"], ids=lambda path: path.stem)
def test_the_api_server_takes_them(path: Path) -> None:
    for manifest in manifests(path):
        api_server.validate(manifest)


def test_scaler_validate_finds_nothing_but_what_a_formula_costs() -> None:
    report = validate(str(path) for path in FILES)
    assert report.exit_code(strict=False) == 0
    assert report.triggers == sum(len(each["spec"]["triggers"]) for each in scaled())
    assert {(Path(finding.file).name, finding.key) for finding in report.findings} <= {
        ("scaling-modifiers.yaml", "scalingModifiers"),
    }


def test_every_source_has_a_sample() -> None:
    used = {parsed.source for each in scaled() for _, parsed in triggers(each)}
    assert used == set(SOURCES)


@pytest.mark.parametrize("manifest", of("ScaledObject"))
def test_a_scaled_object_bears_what_its_source_does(manifest: Manifest) -> None:
    spec = manifest["spec"]
    sleeps = spec["minReplicaCount"] == 0
    parsed = [trigger for _, trigger in triggers(manifest)]
    if sleeps:
        assert spec["cooldownPeriod"] >= max(60, *(2 * trigger.settle_seconds for trigger in parsed))
    if "fallback" in spec:
        assert spec["fallback"]["replicas"] >= 1  # with 0 KEDA scales to zero in an outage
    else:
        assert all(isinstance(trigger, RedisKeys) for trigger in parsed)  # without Redis its workers are idle too
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    if spec["maxReplicaCount"] > 1:
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 120
    pushed = {trigger["type"] == "external-push" for trigger in spec["triggers"]}
    if "scalingModifiers" not in spec.get("advanced", {}):
        assert pushed == {sleeps}  # a stream wakes; what never sleeps needs none


@pytest.mark.parametrize("manifest", of("ScaledObject"))
def test_variables_and_authentications_exist(manifest: Manifest) -> None:
    namespace, target = manifest["metadata"]["namespace"], manifest["spec"]["scaleTargetRef"]["name"]
    workloads = [
        each for each in manifests(*FILES) if each["kind"] == "Deployment" and each["metadata"]["name"] == target
    ]
    variables = {
        variable["name"]
        for workload in workloads
        for container in workload["spec"]["template"]["spec"]["containers"]
        for variable in container.get("env", ())
    }
    authentications = {
        (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"])
        for each in manifests(*FILES)
        if each["kind"] == "TriggerAuthentication"
    } | {("ClusterTriggerAuthentication", namespace, "keda-queue-scaler")}  # of the chart
    for trigger in manifest["spec"]["triggers"]:
        assert {value for key, value in trigger["metadata"].items() if key.endswith("FromEnv")} <= variables
        if reference := trigger.get("authenticationRef"):
            kind = reference.get("kind", "TriggerAuthentication")
            assert (kind, namespace, reference["name"]) in authentications


@pytest.mark.parametrize("manifest", of("Deployment"))
def test_a_scaled_workload_leaves_its_replicas_to_keda_and_has_time_to_end(manifest: Manifest) -> None:
    targets = {each["spec"]["scaleTargetRef"]["name"] for each in manifests(*FILES) if each["kind"] == "ScaledObject"}
    pod = manifest["spec"]["template"]["spec"]
    if manifest["metadata"]["name"] not in targets:
        assert pod["priorityClassName"] == "over-provisioning"
        return
    assert "replicas" not in manifest["spec"]
    (command,) = [container["command"] for container in pod["containers"]]
    timeout = int(command[command.index("-t") + 1]) if "-t" in command else 120
    assert pod["terminationGracePeriodSeconds"] > timeout


def test_jobs_are_pulled_for_and_count_no_message_twice() -> None:
    (manifest,) = [each for each in manifests(*FILES) if each["kind"] == "ScaledJob"]
    ((trigger, parsed),) = triggers(manifest)
    assert trigger["type"] == "external"
    assert "metricType" not in trigger
    assert len(parsed.specs()) == 1
    assert manifest["spec"]["scalingStrategy"] == {"strategy": "accurate"}
    assert trigger["metadata"]["scaleOnInFlight"] == "false"


def test_a_formula_names_every_trigger_and_each_has_one_metric() -> None:
    (manifest,) = manifests(SAMPLES / "scaling-modifiers.yaml")
    formula = manifest["spec"]["advanced"]["scalingModifiers"]["formula"]
    for trigger, parsed in triggers(manifest):
        assert trigger["name"] in formula.split()
        assert len(parsed.specs()) == 1
    assert manifest["spec"]["minReplicaCount"] >= 1


def test_the_fixed_fleet_is_whole() -> None:
    fleet = manifests(SAMPLES / "argocd-fixed-shards.yaml")
    shards = [trigger["metadata"] for manifest in fleet for trigger, _ in triggers(manifest)]
    assert [shard["shard"] for shard in shards] == [str(number) for number in range(len(shards))]
    assert {shard["shards"] for shard in shards} == {str(len(shards))}
    for manifest, shard in zip(fleet, shards, strict=True):
        name = f"argocd-application-controller-shard-{shard['shard']}"
        assert manifest["metadata"]["name"] == manifest["spec"]["scaleTargetRef"]["name"] == name
        assert manifest["spec"]["maxReplicaCount"] == 1


def test_the_production_values_let_each_sample_read_what_it_asks_for() -> None:
    config = yaml.safe_load((SAMPLES / "values" / "production.yaml").read_text())["config"]
    access = Access(Settings.model_validate({"access": config["access"]}).access, AwsSettings())
    assert access.restricted
    for manifest in scaled():
        for _, parsed in triggers(manifest):
            access.check(manifest["metadata"]["namespace"], parsed.claims())


def test_the_page_lists_every_sample() -> None:
    page = (SAMPLES / "README.md").read_text()
    for path in FILES:
        assert f"[{path.stem}]({path.name})" in page
