"""The chart's values: documented, closed, and refused where they are wrong, with the path."""

import json
import re
from typing import Any

import pytest
import yaml

from scaler.settings import load
from tests.chart.conftest import CHART, Case, together, values_of
from tools import binaries
from tools.chart_values import documented


@pytest.mark.parametrize("helm", [binaries.HELM_3, binaries.HELM_4], ids=["helm-3", "helm-4"])
@pytest.mark.parametrize(
    "cases",
    together(
        [
            ({"replica": 3}, "additional properties 'replica' not allowed"),
            ({"image": {"tagg": "1"}}, "image"),
            ({"image": {"digest": "sha256:beef"}}, "image/digest"),
            ({"image": {"pullPolicy": "always"}}, "image/pullPolicy"),
            ({"replicas": "2"}, "replicas"),
            ({"ports": {"grpc": 90900}}, "ports/grpc"),
            ({"config": {"acess": []}}, "config"),
            ({"config": {"access": [{"namespaces": ["shop"], "queues": []}]}}, "config/access/0"),
            ({"config": {"limits": {"rpcDeadlineSeconds": 0}}}, "config/limits/rpcDeadlineSeconds"),
            ({"config": {"listen": "0.0.0.0:1"}}, "config"),
            ({"secretMounts": [{"name": "redis"}]}, "secretMounts/0"),
            ({"tls": {"certManager": {"duration": "90 days"}}}, "tls/certManager/duration"),
            ({"sources": {"argo": {"enabled": True}}}, "sources"),
            ({"podAntiAffinity": "required"}, "podAntiAffinity"),
            ({"securityContext": {"readOnlyRootFileSystem": True}}, "securityContext"),
            ({"probes": {"liveness": {"period": 3}}}, "probes/liveness"),
            ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "podDisruptionBudget/maxUnavailable"),
            ({"metrics": {"serviceMonitor": {"enabled": "yes"}}}, "metrics/serviceMonitor/enabled"),
            ({"admissionPolicy": {"validationActions": ["Refuse"]}}, "admissionPolicy/validationActions"),
            ({"extraEnv": [{"value": "a"}]}, "extraEnv/0"),
        ]
    ),
    ids=len,
)
def test_a_wrong_value_is_refused_with_its_path(chart: Any, cases: list[Case], helm: str) -> None:
    told = chart.refusal(values_of(cases), helm)
    assert "schema" in told
    assert [path for _, path in cases if path not in told.replace(".", "/")] == []


def test_tls_needs_a_certificate(chart: Any) -> None:
    assert "tls.secretName: name the Secret" in chart.refusal({"tls": {"enabled": True}})


def test_every_value_is_documented_and_in_the_schema(chart: Any) -> None:
    values = documented((chart.path / "values.yaml").read_text())
    schema = json.loads((chart.path / "values.schema.json").read_text())
    assert len(values) > 100
    for value in values:
        node = schema
        for key in value.path:
            assert node is schema["properties"]["global"] or node["additionalProperties"] is False
            node = node["properties"][key]
        assert value.comment.endswith("."), value.path
        assert node["description"] == value.comment


def test_a_value_without_a_comment_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"values.yaml:2: b needs a line"):
        documented("# A comment of another kind.\nb: 1\n")


def test_as_part_of_another_chart_it_takes_what_helm_adds(chart: Any) -> None:
    assert chart.render({"global": {"storageClass": "ssd"}, "enabled": True}).one("Deployment")


def test_the_server_takes_the_configuration_of_the_chart(chart: Any, tmp_path: Any) -> None:
    config = {
        "redis": {
            "main": {
                "url": "rediss://redis.shop.svc:6379/0",
                "passwordFile": "/etc/keda-queue-scaler/secrets/redis/password",
            }
        },
        "prometheus": {"main": {"url": "http://prometheus.monitoring.svc:9090"}},
        "aws": {"roles": [{"arn": "arn:aws:iam::*:role/keda-*", "namespaces": ["shop-*"], "externalId": "shop-1"}]},
        "access": [{"namespaces": ["shop-*"], "sqs": ["arn:aws:sqs:*"], "redis": ["main"]}],
        "limits": {"maxStreams": 10, "requestsPerSecond": {"sqs": 20}},
        "log": {"level": "debug"},
        "leaseSeconds": 60,
    }
    rendered = chart.render(
        {"config": config, "tls": {"enabled": True, "secretName": "a"}, "ports": {"health": 8081}}
    ).config
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(rendered))
    settings = load(file)
    assert settings.redis["main"].url.get_secret_value() == "rediss://redis.shop.svc:6379/0"
    assert settings.access[0].sqs == ("arn:aws:sqs:*",)
    assert settings.limits.max_streams == 10
    assert settings.lease_seconds == 60
    assert settings.tls is not None
    assert str(settings.tls.client_ca_file) == "/etc/keda-queue-scaler/tls/ca.crt"
    assert settings.health_listen == "0.0.0.0:8081"


def test_a_heading_with_nothing_under_it_means_nothing(chart: Any) -> None:
    names = [
        *("config", "commonLabels", "commonAnnotations", "imagePullSecrets", "resources", "affinity", "tolerations"),
        *("podLabels", "podAnnotations", "podSecurityContext", "securityContext", "extraEnv", "extraContainers"),
        *("extraInitContainers", "extraVolumes", "topologySpreadConstraints", "nodeSelector", "secretMounts"),
    ]
    nothing = dict.fromkeys(names)
    assert chart.render(nothing).one("Deployment")
    assert chart.notes(nothing)


def test_the_names_of_the_service_and_another_domain_may_be_asked_for_too(chart: Any) -> None:
    def hosts(**values: Any) -> Any:
        return chart.render(values).config.get("httpAllowedHosts")

    own = ["keda-queue-scaler", "keda-queue-scaler.scaling"]
    assert hosts() == ["localhost", "*.svc", "*.svc.cluster.local", *own]
    assert hosts(clusterDomain="example.internal") == ["localhost", "*.svc", "*.svc.example.internal", *own]
    assert hosts(namespaceOverride="keda")[-1] == "keda-queue-scaler.keda"
    assert hosts(clusterDomain="example.internal", config={"httpAllowedHosts": ["scaler.example"]}) == [
        "scaler.example"
    ]


def test_a_change_of_the_configuration_restarts_the_pods(chart: Any) -> None:
    def checksum(values: dict[str, Any]) -> str:
        found: str = chart.render(values).one("Deployment")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        return found

    assert checksum({}) == checksum({"replicas": 3})
    assert checksum({}) != checksum({"config": {"leaseSeconds": 60}})


def test_the_examples_in_the_comments_are_taken(chart: Any) -> None:
    """What a comment shows as a list is set, all of it at once; names that it leaves open are `a`."""
    values: dict[str, Any] = {}
    shown = [
        (value.path, yaml.safe_load(code.replace("…", "a")))
        for value in documented((CHART / "values.yaml").read_text())
        for code in re.findall(r"`(\[[^`]*\])`", value.comment)
        if isinstance(value.default, list)
    ]
    assert len(shown) >= 6
    for path, example in shown:
        *folders, name = map(str, path)
        folder = values
        for each in folders:
            folder = folder.setdefault(each, {})
        folder[name] = example
    pod = chart.render(values).pod
    assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} >= {
        "/etc/keda-queue-scaler/secrets/redis",
        "/etc/keda-queue-scaler/configmaps/internal-ca",
    }
