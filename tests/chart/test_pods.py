"""The pods: how they are run, spread, probed and ended, and who reaches them."""

import asyncio
import sys
from math import ceil
from typing import Any

import pytest
import yaml
from grpc_health.v1 import health_pb2

from scaler.core.clock import SystemClock
from scaler.server.app import Server
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


def test_pods_that_are_recreated_have_no_rolling_update(chart: Any) -> None:
    assert chart.render({"updateStrategy": {"type": "Recreate"}}).one("Deployment")["spec"]["strategy"] == {
        "type": "Recreate"
    }


def test_where_pods_run_and_look_names_up(chart: Any) -> None:
    asked = {
        "schedulerName": "other",
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["redis.internal"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]},
    }
    pod = chart.render(asked).pod
    assert {key: pod[key] for key in asked} == asked
    assert not asked.keys() & chart.render().pod.keys()


def test_annotations_of_the_user_win(chart: Any) -> None:
    values = {"podAnnotations": {"prometheus.io/scrape": "false"}, "deploymentAnnotations": {"a": "b"}}
    deployment = chart.render(values).one("Deployment")
    assert deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/scrape"] == "false"
    assert deployment["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ({}, "0.0.0.0"),
        ({"ipFamilies": ["IPv4"]}, "0.0.0.0"),
        ({"ipFamilies": ["IPv6"]}, "[::]"),
        ({"ipFamilyPolicy": "PreferDualStack"}, "[::]"),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}, "[::]"),
    ],
    ids=["as the cluster has it", "IPv4", "IPv6", "prefer both", "both"],
)
def test_the_ports_listen_on_what_the_service_has(chart: Any, service: dict[str, Any], host: str) -> None:
    objects = chart.render({"service": service, "tls": TLS})
    assert {objects.config[key].rpartition(":")[0] for key in ("listen", "http", "healthListen")} == {host}
    spec = objects.one("Service")["spec"]
    assert {key: spec[key] for key in service} == service
    assert chart.render({"service": service, "listenHost": "10.0.0.1"}).config["listen"] == "10.0.0.1:9090"


def test_a_mesh_is_told_what_the_ports_speak(chart: Any) -> None:
    def protocols(values: dict[str, Any]) -> dict[str, str]:
        ports = chart.render(values).one("Service")["spec"]["ports"]
        return {port["name"]: port["appProtocol"] for port in ports}

    assert protocols({}) == {"grpc": "grpc", "http": "http"}
    assert protocols({"tls": TLS}) == {"grpc": "tls", "http": "http"}


def test_openshift_chooses_the_ids(chart: Any) -> None:
    values = yaml.safe_load((chart.path / "ci" / "openshift-values.yaml").read_text())
    assert values == yaml.safe_load((chart.path.parents[1] / "samples" / "values" / "openshift.yaml").read_text())
    for pod in (chart.render(values).pod, chart.hooks(values).one("Pod")["spec"]):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.mark.parametrize("tls", [{}, TLS], ids=["plain", "TLS"])
def test_helm_test_asks_every_replica_and_is_let_in_only_then(chart: Any, tls: dict[str, Any]) -> None:
    installed, hooks = chart.render({"tls": tls}), chart.hooks({"tls": tls})
    pod, policy = hooks.one("Pod"), hooks.one("NetworkPolicy")
    selector = installed.one("Service")["spec"]["selector"]
    labels = pod["metadata"]["labels"]
    assert not selector.items() <= labels.items()  # else the Service would send KEDA there
    assert policy["spec"]["podSelector"]["matchLabels"] == selector
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    (container,) = pod["spec"]["containers"]
    _, _, _, host, port = container["command"]
    assert host == "keda-queue-scaler.scaling.svc.cluster.local"
    assert rule["ports"] == [{"port": int(port)}]
    probed = installed.pod["containers"][0]["readinessProbe"]["grpc"]["port"]
    assert int(port) == probed  # where nobody needs a certificate
    assert not chart.hooks({"networkPolicy": {"enabled": False}}).of("NetworkPolicy")
    assert not chart.hooks({"tests": {"enabled": False}})


async def test_what_helm_test_runs_tells_a_server_that_serves_from_one_that_does_not(chart: Any) -> None:
    (container,) = chart.hooks().one("Pod")["spec"]["containers"]
    script = container["command"][2]

    async def ask(port: int) -> tuple[int | None, str]:
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, "127.0.0.1", str(port), stdout=asyncio.subprocess.PIPE
        )
        told, _ = await run.communicate()
        return run.returncode, told.decode()

    server = Server(Settings(listen="127.0.0.1:0", http="127.0.0.1:0"), SystemClock(), readers=[])
    await server.start()
    try:
        assert await ask(server.port) == (0, f"127.0.0.1:{server.port} SERVING\n")
        await server.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        assert await ask(server.port) == (1, f"127.0.0.1:{server.port} NOT_SERVING\n")
    finally:
        await server.close()


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
