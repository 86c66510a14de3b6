"""Every object of the chart, for a matrix of values, against the schemas of Kubernetes and of the custom resources."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import api_server, binaries

HELMS = [pytest.param(binaries.HELM_3, id="helm-3"), pytest.param(binaries.HELM_4, id="helm-4")]
CI = Path(__file__).parents[2] / "charts" / "keda-queue-scaler" / "ci"
VARIANTS: dict[str, dict[str, Any]] = {
    path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) or {}
    for path in sorted(CI.glob("*-values.yaml"))
}
"""By the names that chart-testing (`ct lint`) looks for, too."""


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Return `values` as helm merges files: the later ones win, key by key."""
    whole: dict[str, Any] = {}
    for each in values:
        for key, value in each.items():
            known = whole.get(key)
            whole[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return whole


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("values", [VARIANTS["default"], VARIANTS["everything"]], ids=["defaults", "much"])
def test_lint_finds_nothing(chart: Any, helm: str, values: dict[str, Any]) -> None:
    done = subprocess.run(
        [binaries.binary(helm, "helm"), "lint", "--strict", chart.path, "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_object_is_what_the_api_takes(chart: Any, values: dict[str, Any]) -> None:
    objects = [*chart.render(values), *chart.hooks(values)]
    for manifest in objects:
        api_server.validate(manifest)
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))


def test_the_matrix_has_every_template(chart: Any) -> None:
    templates = {path.name for path in chart.path.glob("templates/*.yaml")}
    kinds = {each["kind"].lower() for values in VARIANTS.values() for each in chart.render(values)}
    kinds |= {"certificates" if kind == "certificate" else kind for kind in kinds}
    unseen = {name for name in templates if name.removesuffix(".yaml") not in kinds}
    assert unseen == {"rbac.yaml", "dashboard.yaml", "extraobjects.yaml"}
    assert {"role", "clusterrole"} <= kinds


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_helm_3_and_4_make_the_same(chart: Any, values: dict[str, Any]) -> None:
    def order(manifest: dict[str, Any]) -> str:
        return json.dumps(manifest, sort_keys=True)

    assert sorted(chart.render(values, binaries.HELM_3), key=order) == sorted(chart.render(values), key=order)


def test_labels_and_annotations_are_on_everything_of_the_chart(chart: Any) -> None:
    values = merged(VARIANTS["everything"], {"extraObjects": []}, VARIANTS["monitored"])
    for manifest in [*chart.render(values), *chart.hooks(values)]:
        assert manifest["metadata"]["labels"]["team"] == "platform"
        assert manifest["metadata"]["annotations"]["owner"] == "platform"


def test_extra_objects_are_templates(chart: Any) -> None:
    objects = chart.render(VARIANTS["everything"])
    assert objects.one("ConfigMap", "keda-queue-scaler-a")
    assert objects.one("ConfigMap", "keda-queue-scaler-b")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "ghcr.io/keda-queue-scaler/keda-queue-scaler:0.1.0"),
        ({"repository": "registry/scaler", "tag": "1.2"}, "registry/scaler:1.2"),
        (
            {"tag": "1.2", "digest": f"sha256:{'a' * 64}"},
            f"ghcr.io/keda-queue-scaler/keda-queue-scaler@sha256:{'a' * 64}",
        ),
        ({"registry": "mirror:5000/ghcr"}, "mirror:5000/ghcr/keda-queue-scaler/keda-queue-scaler:0.1.0"),
        ({"registry": "mirror", "repository": "team/scaler", "tag": "1"}, "mirror/team/scaler:1"),
    ],
    ids=["as released", "tag", "digest", "a mirror", "registry and repository"],
)
def test_the_image(chart: Any, image: dict[str, Any], expected: str) -> None:
    assert chart.render({"image": image}).pod["containers"][0]["image"] == expected


def test_what_all_charts_share_wins(chart: Any) -> None:
    shared = {"imageRegistry": "mirror.example", "imagePullSecrets": ["a", {"name": "b"}]}
    values = {"global": shared, "image": {"registry": "other"}, "imagePullSecrets": [{"name": "b"}]}
    pods = [chart.render(values).pod, chart.hooks(values).one("Pod")["spec"]]
    for pod in pods:
        assert pod["containers"][0]["image"] == "mirror.example/keda-queue-scaler/keda-queue-scaler:0.1.0"
        assert pod["imagePullSecrets"] == [{"name": "b"}, {"name": "a"}]


def test_another_namespace_holds_everything_but_what_has_its_own(chart: Any) -> None:
    values = merged({"namespaceOverride": "scalers"}, VARIANTS["everything"])
    for manifest in [*chart.render(values), *chart.hooks(values)]:
        assert manifest["metadata"].get("namespace") != "scaling", manifest["kind"]
    assert "scaling" not in json.dumps(chart.render(values))


def test_two_releases_share_no_cluster_wide_name(chart: Any) -> None:
    values = merged(VARIANTS["sources"], VARIANTS["admission-policy"])
    wide = [each for each in chart.render(values) if "namespace" not in each["metadata"]]
    assert {each["kind"] for each in wide} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    assert all(each["metadata"]["name"] == "keda-queue-scaler-scaling" for each in wide)


def test_shards_of_a_fleet_share_no_name_and_no_pod(chart: Any) -> None:
    values = merged(VARIANTS["sources"], VARIANTS["admission-policy"], VARIANTS["cluster-issuer"])
    values = merged(values, {"spareBusy": {"namespaces": ["shop"]}, "metrics": {"dashboard": {"enabled": True}}})
    shop, mail = (chart.render(values, binaries.HELM_4, f"--name-template={name}") for name in ("shop", "mail"))

    def names(objects: Any) -> set[tuple[str, str, str]]:
        return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in objects}

    assert not names(shop) & names(mail)
    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
        assert "shop" in str(shop.one(kind)["spec"])
        assert "mail" not in str(shop.one(kind)["spec"])
