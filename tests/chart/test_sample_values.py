"""The sample values, and the chart as GitOps delivers it: what comes out is what the chart takes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import binaries

SAMPLES = Path(__file__).parents[2] / "samples"
VALUES = sorted((SAMPLES / "values").glob("*.yaml"))


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_the_chart_takes_the_sample_values(chart: Any, path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    assert chart.render(values).one("Deployment")
    assert "config.access is empty" not in chart.notes(values)


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_every_file_of_the_configuration_is_mounted(chart: Any, path: Path) -> None:
    rendered = chart.render(yaml.safe_load(path.read_text()))
    mounts = [mount["mountPath"] for mount in rendered.pod["containers"][0]["volumeMounts"]]

    def files(config: Any) -> list[str]:
        if isinstance(config, dict):
            return [
                file for key, value in config.items() for file in ([value] if key.endswith("File") else files(value))
            ]
        return [file for item in config for file in files(item)] if isinstance(config, list) else []

    for file in files(rendered.config):
        assert any(file.startswith(f"{mount}/") for mount in mounts), file


def test_the_production_values_leave_no_warning_and_switch_everything_on(chart: Any) -> None:
    values = yaml.safe_load((SAMPLES / "values" / "production.yaml").read_text())
    assert "WARNING" not in chart.notes(values)
    kinds = {each["kind"] for each in chart.render(values)}
    assert {"ServiceMonitor", "PrometheusRule", "ClusterTriggerAuthentication", "ValidatingAdmissionPolicy"} <= kinds


def rendered(tmp_path: Path, template: str, parameters: dict[str, Any]) -> str:
    """Return a Go template of an ApplicationSet, which has the functions that Helm has, with `parameters` as its dot."""
    (tmp_path / "templates").mkdir(exist_ok=True)
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: template, version: 0.0.0}")
    (tmp_path / "templates" / "text.yaml").write_text(
        f"text: |\n{{{{- with .Values.parameters }}}}\n{template}\n{{{{- end }}}}\n"
    )
    helm = binaries.binary(binaries.HELM_4, "helm")
    done = subprocess.run(
        [helm, "template", "t", tmp_path, "-f-"],
        input=json.dumps({"parameters": parameters}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.partition("text: |\n")[2] if done.returncode == 0 else done.stderr


@pytest.fixture
def application_set() -> tuple[dict[str, Any], dict[str, Any]]:
    application_set, cluster = yaml.safe_load_all((SAMPLES / "gitops" / "argocd-applicationset.yaml").read_text())
    return application_set, cluster


def parameters_of(cluster: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    """Return what the cluster generator makes of a cluster Secret."""
    name = cluster["stringData"]["name"]
    return {
        "name": name,
        "nameNormalized": name,
        "server": cluster["stringData"]["server"],
        "metadata": {"labels": cluster["metadata"]["labels"], "annotations": annotations},
    }


def test_the_application_set_makes_values_of_a_cluster(chart: Any, tmp_path: Path, application_set: Any) -> None:
    manifest, cluster = application_set
    assert cluster["metadata"]["labels"]["keda-queue-scaler"] == "enabled"
    (generator,) = manifest["spec"]["generators"]
    assert generator["clusters"]["selector"]["matchLabels"].items() <= cluster["metadata"]["labels"].items()
    source = manifest["spec"]["template"]["spec"]["source"]
    assert (chart.path.parents[1] / source["path"]).samefile(chart.path)
    text = rendered(tmp_path, source["helm"]["values"], parameters_of(cluster, cluster["metadata"]["annotations"]))
    objects = chart.render(yaml.safe_load(text))
    assert objects.one("Deployment")["spec"]["replicas"] == 3
    assert objects.one("ServiceAccount")["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/keda-queue-scaler"
    }
    assert objects.config["access"][0]["sqs"] == ["arn:aws:sqs:ap-northeast-1:123456789012:*"]
    assert objects.one("ClusterRole")
    assert objects.one("Deployment")["metadata"]["labels"]["cluster"] == "tokyo-1"


def test_a_cluster_with_one_annotation_gets_the_defaults(chart: Any, tmp_path: Path, application_set: Any) -> None:
    manifest, cluster = application_set
    template = manifest["spec"]["template"]["spec"]["source"]["helm"]["values"]
    annotations = {"keda-queue-scaler/account": "eu-west-1:210987654321", "other": "x"}
    objects = chart.render(yaml.safe_load(rendered(tmp_path, template, parameters_of(cluster, annotations))))
    assert objects.one("Deployment")["spec"]["replicas"] == 2
    assert "annotations" not in objects.one("ServiceAccount")["metadata"]
    assert not objects.of("ClusterRole")


def test_a_cluster_without_account_is_an_error(tmp_path: Path, application_set: Any) -> None:
    manifest, cluster = application_set
    template = manifest["spec"]["template"]["spec"]["source"]["helm"]["values"]
    told = rendered(tmp_path, template, parameters_of(cluster, {}))
    assert "needs the annotation keda-queue-scaler/account" in told


def test_the_helm_release_makes_what_the_chart_takes(chart: Any) -> None:
    _, release, cluster = yaml.safe_load_all((SAMPLES / "gitops" / "flux-helmrelease.yaml").read_text())
    assert release["spec"]["valuesFrom"][0]["name"] == cluster["metadata"]["name"]
    assert (chart.path.parents[1] / release["spec"]["chart"]["spec"]["chart"]).samefile(chart.path)
    values = release["spec"]["values"] | yaml.safe_load(cluster["data"]["values.yaml"])
    objects = chart.render(values)
    assert objects.one("PodMonitor")
    assert objects.one("Deployment")["spec"]["replicas"] == 3
