"""Every object of the chart, for a matrix of values, against the schemas of Kubernetes and of the custom resources."""

import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tools import binaries, crds

HELMS = [pytest.param(binaries.HELM_3, id="helm-3"), pytest.param(binaries.HELM_4, id="helm-4")]
MONITORS = {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}, "podMonitor": {"enabled": True}}
RULES = {"prometheusRule": {"enabled": True, "alertLabels": {"team": "platform"}}, "dashboard": {"enabled": True}}
OWN_CA = {"enabled": True, "certManager": {"enabled": True}}
CLUSTER_ISSUER = {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "internal"}}}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one replica, no policy": {"replicas": 1, "networkPolicy": {"enabled": False}, "podAntiAffinity": "hard"},
    "every source": {
        "sources": {
            "workqueue": {"podDiscovery": True},
            "argocd": {"enabled": True, "clusterSecrets": True, "applicationNamespaces": ["team-a", "team-b"]},
            "flux": {"enabled": True},
        }
    },
    "sources in namespaces": {
        "sources": {
            "workqueue": {"podDiscovery": True, "namespaces": ["flux-system", "shop"]},
            "flux": {"enabled": True, "namespaces": ["flux-system", "shop"]},
        }
    },
    "monitored": {"metrics": {**MONITORS, **RULES}},
    "own CA beside KEDA": {"keda": {"namespace": "scaling"}, "tls": OWN_CA},
    "cluster issuer": {"tls": {**CLUSTER_ISSUER, "triggerAuthentication": {"namespaces": ["shop"]}}},
    "TLS by Secret": {"tls": {"enabled": True, "secretName": "scaler-tls", "clientAuth": False}},
    "admission policy": {"admissionPolicy": {"enabled": True, "validationActions": ["Warn", "Audit"]}},
    "autoscaled": {"autoscaling": {"enabled": True, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}}},
    "everything else": {
        "fullnameOverride": "scaler",
        "commonLabels": {"team": "platform"},
        "commonAnnotations": {"owner": "platform"},
        "image": {"digest": f"sha256:{'0' * 64}"},
        "imagePullSecrets": [{"name": "registry"}],
        "config": {"redis": {"main": {"url": "redis://redis:6379"}}, "drain": {"graceSeconds": 10}},
        "secretMounts": [{"name": "redis", "secretName": "redis"}],
        "extraArgs": ["--log-level=debug"],
        "extraEnv": [{"name": "AWS_REGION", "value": "eu-west-1"}],
        "extraEnvFrom": [{"secretRef": {"name": "proxy"}}],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/scaler"}},
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"a": "b"}},
            }
        ],
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
        "runtimeClassName": "gvisor",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "networkPolicy": {
            "extraIngress": [{"ports": [{"port": 9090}]}],
            "egress": {"enabled": True, "rules": [{"ports": [{"port": 443}]}]},
        },
        "extraInitContainers": [{"name": "wait", "image": "busybox"}],
        "extraContainers": [{"name": "proxy", "image": "envoy"}],
        "extraVolumes": [{"name": "scratch", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
            'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-b"}\n',
        ],
    },
}
BUILT_IN = ("apps/", "autoscaling/", "batch/", "policy/", "networking.k8s.io/", "rbac.", "admissionregistration.")


def check(manifest: dict[str, Any]) -> None:
    api_version = manifest["apiVersion"]
    if api_version == "v1" or api_version.startswith(BUILT_IN):
        kubernetes_validate.validate(manifest, "1.37", strict=True)
    else:
        crds.validate(manifest)


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("values", [VARIANTS["defaults"], VARIANTS["everything else"]], ids=["defaults", "much"])
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
    objects = chart.render(values)
    for manifest in objects:
        check(manifest)
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
        return yaml.safe_dump(manifest)

    assert sorted(chart.render(values, binaries.HELM_3), key=order) == sorted(chart.render(values), key=order)


def test_labels_and_annotations_are_on_everything_of_the_chart(chart: Any) -> None:
    objects = chart.render({**VARIANTS["everything else"], "extraObjects": [], **VARIANTS["monitored"]})
    for manifest in objects:
        assert manifest["metadata"]["labels"]["team"] == "platform"
        assert manifest["metadata"]["annotations"]["owner"] == "platform"


def test_extra_objects_are_templates(chart: Any) -> None:
    objects = chart.render(VARIANTS["everything else"])
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
    ],
    ids=["as released", "tag", "digest"],
)
def test_the_image(chart: Any, image: dict[str, Any], expected: str) -> None:
    assert chart.render({"image": image}).pod["containers"][0]["image"] == expected


def test_two_releases_share_no_cluster_wide_name(chart: Any) -> None:
    values = {**VARIANTS["every source"], **VARIANTS["admission policy"]}
    wide = [each for each in chart.render(values) if "namespace" not in each["metadata"]]
    assert {each["kind"] for each in wide} == {
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    assert all(each["metadata"]["name"] == "keda-queue-scaler-scaling" for each in wide)
