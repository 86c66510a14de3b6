"""The pods: how they are run, spread, probed and ended, and who reaches them."""

from math import ceil
from typing import Any

import pytest

from scaler.settings import DrainSettings, Settings

TLS = {"enabled": True, "secretName": "scaler-tls"}


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_a_container_may_do_nothing_that_it_need_not(chart: Any) -> None:
    pod = chart.render().pod
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container["resources"]["limits"] == {"memory": "512Mi"}
    assert not any("emptyDir" in volume or "hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize(
    "source",
    [{"workqueue": {"podDiscovery": True}}, {"argocd": {"enabled": True}}, {"flux": {"enabled": True}}],
    ids=lambda source: next(iter(source)),
)
def test_a_token_is_mounted_for_a_source_that_reads_kubernetes(chart: Any, source: dict[str, Any]) -> None:
    objects = chart.render({"sources": source})
    assert objects.pod["automountServiceAccountToken"] is True
    assert objects.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_two_replicas_on_different_nodes_and_zones(chart: Any) -> None:
    objects = chart.render()
    selector = {"matchLabels": objects.one("Deployment")["spec"]["selector"]["matchLabels"]}
    assert objects.one("Deployment")["spec"]["replicas"] == 2
    (term,) = objects.pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"] == {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    (spread,) = objects.pod["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["labelSelector"] == selector
    assert objects.one("PodDisruptionBudget")["spec"]["selector"] == selector
    assert objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_own_rules_for_the_spread_stay_as_they_are(chart: Any) -> None:
    own = {
        "maxSkew": 1,
        "topologyKey": "rack",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"a": "b"}},
    }
    pod = chart.render({"topologySpreadConstraints": [own], "podAntiAffinity": "none"}).pod
    assert pod["topologySpreadConstraints"] == [own]
    assert "affinity" not in pod


def test_the_hpa_owns_the_replicas(chart: Any) -> None:
    objects = chart.render({"autoscaling": {"enabled": True}})
    assert "replicas" not in objects.one("Deployment")["spec"]
    assert objects.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "keda-queue-scaler"


def test_the_ports_are_those_of_the_server(chart: Any) -> None:
    defaults = Settings()
    objects = chart.render({"tls": TLS})
    ports = {port["name"]: port["containerPort"] for port in objects.pod["containers"][0]["ports"]}
    assert ports == {
        "grpc": port_of(defaults.listen),
        "http": port_of(defaults.http),
        "health": port_of(defaults.health_listen),
    }


@pytest.mark.parametrize("tls", [{}, TLS], ids=["plain", "TLS"])
@pytest.mark.parametrize("ports", [{}, {"grpc": 50051, "http": 8080, "health": 8081}], ids=["usual", "other"])
def test_everything_agrees_on_the_ports(chart: Any, tls: dict[str, Any], ports: dict[str, int]) -> None:
    objects = chart.render({"tls": tls, "ports": ports})
    container = objects.pod["containers"][0]
    open_ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    config = objects.config
    assert open_ports["grpc"] == port_of(config["listen"])
    assert open_ports["http"] == port_of(config["http"])
    assert ("tls" in config) == ("health" in open_ports) == bool(tls)
    health = "health" if tls else "grpc"  # the kubelet speaks no TLS to gRPC
    if tls:
        assert open_ports["health"] == port_of(config["healthListen"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": open_ports[health]}
    service = objects.one("Service")["spec"]
    assert service["clusterIP"] == "None"
    assert {port["name"]: (port["port"], port["targetPort"]) for port in service["ports"]} == {
        name: (open_ports[name], name) for name in ("grpc", "http")
    }


@pytest.mark.parametrize("tls", [{}, TLS], ids=["plain", "TLS"])
def test_only_keda_and_monitoring_come_in(chart: Any, tls: dict[str, Any]) -> None:
    objects = chart.render({"tls": tls, "keda": {"namespace": "keda-system"}})
    policy = objects.one("NetworkPolicy")["spec"]
    ports = {port["name"]: port["containerPort"] for port in objects.pod["containers"][0]["ports"]}
    keda, monitoring, *health = policy["ingress"]
    assert keda == {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda-system"}},
                "podSelector": {"matchLabels": {"app": "keda-operator"}},
            }
        ],
        "ports": [{"port": ports["grpc"]}],
    }
    assert monitoring["ports"] == [{"port": ports["http"]}]
    assert monitoring["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == ["monitoring"]
    assert health == ([{"ports": [{"port": ports["health"]}]}] if tls else [])
    assert policy["policyTypes"] == ["Ingress"]
    assert policy["podSelector"]["matchLabels"] == objects.one("Deployment")["spec"]["selector"]["matchLabels"]


def test_the_way_out_is_dns_and_the_given_rules(chart: Any) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 6379}]}
    policy = chart.render({"networkPolicy": {"egress": {"enabled": True, "rules": [rule]}}}).one("NetworkPolicy")[
        "spec"
    ]
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == [dns, rule]


@pytest.mark.parametrize(
    "drain", [{}, {"waitSeconds": 0.5}, {"graceSeconds": 20.5, "waitSeconds": 10}], ids=["usual", "short wait", "long"]
)
@pytest.mark.parametrize("sleep", [0, 15])
def test_a_pod_has_the_time_that_the_server_may_take_to_end(chart: Any, drain: dict[str, float], sleep: int) -> None:
    settings = DrainSettings.model_validate(drain)
    pod = chart.render({"config": {"drain": drain} if drain else {}, "preStopSleepSeconds": sleep}).pod
    streams_and_two_servers = 3 * settings.grace_seconds
    longest = sleep + settings.wait_seconds + streams_and_two_servers
    assert longest < pod["terminationGracePeriodSeconds"] <= ceil(longest) + 10
    hook = pod["containers"][0].get("lifecycle")
    assert hook == ({"preStop": {"sleep": {"seconds": sleep}}} if sleep else None)


def test_a_given_grace_period_is_kept(chart: Any) -> None:
    assert chart.render({"terminationGracePeriodSeconds": 90}).pod["terminationGracePeriodSeconds"] == 90


def test_secrets_appear_where_the_configuration_looks_for_them(chart: Any) -> None:
    mounts = [{"name": "redis", "secretName": "redis-auth", "items": [{"key": "pw", "path": "password"}]}]
    pod = chart.render({"secretMounts": mounts}).pod
    (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "secret-redis"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "secret-redis"]
    assert mount == {"name": "secret-redis", "mountPath": "/etc/keda-queue-scaler/secrets/redis", "readOnly": True}
    assert volume["secret"] == {"secretName": "redis-auth", "items": [{"key": "pw", "path": "password"}]}


def test_every_volume_is_mounted_and_every_mount_has_its_volume(chart: Any) -> None:
    pod = chart.render({"tls": TLS, "secretMounts": [{"name": "a", "secretName": "b"}]}).pod
    mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]} == {"config", "tls", "secret-a"}
