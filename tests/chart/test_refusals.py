"""What an API server, or an operator's webhook, would refuse is refused by the chart, which names the value."""

import re
from typing import Any

import pytest

from tests.chart.conftest import CHART, Case, together, values_of
from tools.binaries import HELM_4

TLS = {"enabled": True, "secretName": "scaler-tls"}
SECRET = {"name": "redis", "secretName": "redis"}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}

OF_ONE_VALUE: list[tuple[dict[str, Any], str]] = [
    ({"fullnameOverride": "Bad_Name"}, "fullnameOverride"),
    ({"fullnameOverride": "9lives"}, "fullnameOverride"),
    ({"fullnameOverride": "a" * 46}, "fullnameOverride"),
    ({"nameOverride": "Bad_Name"}, "nameOverride"),
    ({"namespaceOverride": "a.b"}, "namespaceOverride"),
    ({"clusterDomain": "cluster local"}, "clusterDomain"),
    ({"commonLabels": {"team": "a b"}}, "commonLabels/team"),
    ({"commonLabels": {"-team": "a"}}, "commonLabels"),
    ({"podLabels": {"team": "a" * 64}}, "podLabels/team"),
    ({"podLabels": {"team": 1}}, "podLabels/team"),
    ({"podAnnotations": {"a b": "c"}}, "podAnnotations"),
    ({"podAnnotations": {"a": True}}, "podAnnotations/a"),
    ({"deploymentAnnotations": {"a": 1}}, "deploymentAnnotations/a"),
    ({"nodeSelector": {"ssd": True}}, "nodeSelector/ssd"),
    ({"image": {"repository": "Team/Scaler"}}, "image/repository"),
    ({"image": {"tag": "1.0 "}}, "image/tag"),
    ({"image": {"registry": "https://mirror"}}, "image/registry"),
    ({"imagePullSecrets": ["registry"]}, "imagePullSecrets/0"),
    ({"secretMounts": [{**SECRET, "name": "Bad_Name"}]}, "secretMounts/0/name"),
    ({"secretMounts": [{**SECRET, "name": "a" * 60}]}, "secretMounts/0/name"),
    ({"secretMounts": [{**SECRET, "secretName": "Bad_Name"}]}, "secretMounts/0/secretName"),
    ({"secretMounts": [{**SECRET, "items": [{"key": "a"}]}]}, "secretMounts/0/items/0"),
    ({"secretMounts": [{**SECRET, "defaultMode": 1000}]}, "secretMounts/0/defaultMode"),
    ({"configMapMounts": [{"name": "ca"}]}, "configMapMounts/0"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "extraEnv/0/value"),
    ({"extraEnv": [{"name": "A", "value": True}]}, "extraEnv/0/value"),
    ({"extraEnv": [{"name": "A=B", "value": "c"}]}, "extraEnv/0/name"),
    ({"extraEnv": [{"name": "A", "valueFrom": {}}]}, "extraEnv/0/valueFrom"),
    ({"extraEnvFrom": [{"prefix": "A_"}]}, "extraEnvFrom/0"),
    ({"service": {"ipFamilies": ["IPv5"]}}, "service/ipFamilies/0"),
    ({"service": {"ipFamilies": ["IPv4", "IPv4"]}}, "service/ipFamilies"),
    ({"spareBusy": {"namespaces": ["*"]}}, "spareBusy/namespaces/0"),
    ({"sources": {"flux": {"namespaces": ["A"]}}}, "sources/flux/namespaces/0"),
    ({"tolerations": [{"operator": "Exist"}]}, "tolerations/0"),
    ({"topologySpreadConstraints": [{**SPREAD, "maxSkew": 0}]}, "topologySpreadConstraints/0/maxSkew"),
    ({"topologySpreadConstraints": [{**SPREAD, "whenUnsatisfiable": "Never"}]}, "topologySpreadConstraints/0"),
    ({"hostAliases": [{"ip": "redis", "hostnames": ["a"]}]}, "hostAliases/0/ip"),
    ({"hostAliases": [{"ip": "10.0.0.1"}]}, "hostAliases/0"),
    ({"dnsPolicy": "clusterFirst"}, "dnsPolicy"),
    ({"dnsConfig": {"options": [{"name": "ndots", "value": 1}]}}, "dnsConfig/options/0/value"),
    ({"dnsConfig": {"nameservers": ["1.1.1.1", "8.8.8.8", "9.9.9.9", "10.0.0.1"]}}, "dnsConfig/nameservers"),
    ({"resources": {"limits": {"memory": "512 MB"}}}, "resources/limits/memory"),
    ({"minReadySeconds": 600}, "minReadySeconds"),
    ({"podDisruptionBudget": {"maxUnavailable": "150%"}}, "podDisruptionBudget/maxUnavailable"),
    ({"podSecurityContext": {"runAsUser": "65532"}}, "podSecurityContext/runAsUser"),
    ({"podSecurityContext": {"fsGroup": -1}}, "podSecurityContext/fsGroup"),
    ({"securityContext": {"readOnlyRootFilesystem": "yes"}}, "securityContext/readOnlyRootFilesystem"),
    ({"extraVolumes": [{"name": "Bad_Name", "emptyDir": {}}]}, "extraVolumes/0/name"),
    ({"extraVolumeMounts": [{"name": "config"}]}, "extraVolumeMounts/0"),
    ({"extraContainers": [{"image": "envoy"}]}, "extraContainers/0"),
    ({"metrics": {"prometheusRule": {"extraRules": [{"alert": "A"}]}}}, "metrics/prometheusRule/extraRules/0"),
    ({"hostAliases": [{"ip": "10.0.1", "hostnames": ["a"]}]}, "hostAliases/0/ip"),
    ({"replicas": -1}, "replicas"),
    ({"updateStrategy": {"type": "OnDelete"}}, "updateStrategy/type"),
    ({"updateStrategy": {"rollingUpdate": {"maxSurge": "one"}}}, "updateStrategy/rollingUpdate/maxSurge"),
    ({"probes": {"liveness": {"successThreshold": 2}}}, "probes/liveness/successThreshold"),
    ({"autoscaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}}}, "autoscaling/behavior"),
    ({"metrics": {"serviceMonitor": {"interval": "1 m"}}}, "metrics/serviceMonitor/interval"),
    ({"metrics": {"podMonitor": {"interval": "30s1m"}}}, "metrics/podMonitor/interval"),
    ({"metrics": {"prometheusRule": {"renderMode": "never"}}}, "metrics/prometheusRule/renderMode"),
]
OF_SEVERAL: list[tuple[dict[str, Any], str]] = [
    ({"ports": {"grpc": 9091}}, "must differ, and 9091 is there twice"),
    ({"ports": {"health": 9090}, "tls": TLS}, "that of health, too) must differ, and 9090 is there twice"),
    ({"secretMounts": [{**SECRET, "items": [{"key": "a", "path": "../a"}]}]}, "path ../a of redis must be relative"),
    (
        {"configMapMounts": [{"name": "ca", "configMapName": "ca", "items": [{"key": "a", "path": "/a"}]}]},
        "path /a of ca must",
    ),
    (
        {"extraEnv": [{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {}}}]},
        "extraEnv: A has value and valueFrom: give one of them",
    ),
    ({"tolerations": [{"operator": "Equal", "value": "a"}]}, "needs operator: Exists"),
    ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "of a compares no value: leave value out"),
    (
        {"tolerations": [{"key": "a", "value": "b", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        "tolerationSeconds of a needs effect: NoExecute",
    ),
    (
        {"topologySpreadConstraints": [{**SPREAD, "minDomains": 2}]},
        "minDomains of zone needs whenUnsatisfiable: DoNotSchedule",
    ),
    ({"admissionPolicy": {"validationActions": ["Deny", "Warn"]}}, "refuses Warn beside it: leave Warn out"),
    (
        {"autoscaling": {"enabled": True, "minReplicas": 7}},
        "autoscaling.minReplicas (7) is above autoscaling.maxReplicas (6)",
    ),
    ({"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}, "needs resources.requests.cpu"),
    (
        {"terminationGracePeriodSeconds": 5},
        "terminationGracePeriodSeconds (5) must be longer than preStopSleepSeconds (5)",
    ),
    ({"updateStrategy": {"rollingUpdate": {"maxSurge": "0%"}}}, "no pod can be replaced"),
    ({"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "scraped twice"),
    (
        {"metrics": {"serviceMonitor": {"interval": "30s", "scrapeTimeout": "1m"}}},
        "metrics.serviceMonitor.scrapeTimeout (1m) is longer than its interval (30s)",
    ),
    ({"service": {"ipFamilies": ["IPv4", "IPv6"]}}, "set service.ipFamilyPolicy"),
    (
        {"service": {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"}},
        "set service.ipFamilyPolicy",
    ),
    ({"dnsPolicy": "None", "dnsConfig": None}, "dnsPolicy None needs dnsConfig.nameservers"),
    ({"tls": {"enabled": True}}, "name the Secret with tls.crt, tls.key and ca.crt"),
    ({"tls": {"enabled": True, "clientAuth": False}}, "name the Secret with tls.crt and tls.key,"),
    (
        {
            "tls": {
                "enabled": True,
                "certManager": {"enabled": True},
                "triggerAuthentication": {"cluster": False, "namespaces": ["a", "b"]},
            }
        },
        "in namespace a: let tls.certManager.issuerRef name a ClusterIssuer",
    ),
    ({"dnsPolicy": "None"}, "dnsPolicy None needs dnsConfig.nameservers"),
    (
        {"tls": {"enabled": True, "certManager": {"enabled": True, "duration": "720h", "renewBefore": "43200m"}}},
        "renewBefore (43200m) must be shorter than tls.certManager.duration (720h)",
    ),
    ({"resources": {"requests": {"memory": "1Gi"}}}, "resources.requests.memory (1Gi) is above"),
    ({"resources": {"limits": {"cpu": 0.05}}}, "resources.requests.cpu (100m) is above resources.limits.cpu (0.05)"),
    ({"secretMounts": [SECRET, SECRET]}, "secret-redis is there twice"),
    ({"extraVolumes": [{"name": "config", "emptyDir": {}}]}, "config is there twice"),
    ({"extraVolumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]}, 'no volume is named "scratch"'),
    (
        {"extraVolumeMounts": [{"name": "config", "mountPath": "/a"}, {"name": "config", "mountPath": "/a/"}]},
        "/a is there twice",
    ),
    ({"extraContainers": [{"name": "scaler", "image": "a"}]}, "scaler is there twice"),
    ({"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "A is there twice"),
    ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": [name]} for name in ("a", "b")]}, "10.0.0.1 is there twice"),
    ({"topologySpreadConstraints": [SPREAD, {**SPREAD, "maxSkew": 2}]}, "zone with ScheduleAnyway is there twice"),
    (
        {
            "secretMounts": [SECRET],
            "extraVolumeMounts": [{"name": "config", "mountPath": "/etc/keda-queue-scaler/secrets/redis"}],
        },
        "/etc/keda-queue-scaler/secrets/redis is there twice",
    ),
    ({"extraEnv": [{"name": "SCALER_LISTEN", "value": "0.0.0.0:1"}]}, "set ports, listenHost and tls instead"),
    ({"extraArgs": ["--http=0.0.0.0:1"]}, "set config, ports and listenHost instead"),
    ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser 0 is root"),
    ({"securityContext": {"privileged": True}}, "privileged needs allowPrivilegeEscalation"),
    (
        {"tls": {"enabled": True, "certManager": {"enabled": True, "duration": "30m", "renewBefore": "10m"}}},
        "a duration of 1h at least",
    ),
    (
        {"metrics": {"prometheusRule": {"enabled": True, "disabledAlerts": ["KedaQueueScalerMisspelt"]}}},
        "there is no alert KedaQueueScalerMisspelt",
    ),
    (
        {"metrics": {"serviceMonitor": {"enabled": True, "renderMode": "failIfMissing"}}},
        "set metrics.serviceMonitor.renderMode to skipIfMissing",
    ),
]


@pytest.mark.parametrize("cases", together(OF_ONE_VALUE), ids=len)
def test_a_value_that_no_api_server_takes(chart: Any, cases: list[Case]) -> None:
    told = chart.refusal(values_of(cases)).replace(".", "/")
    assert [path for _, path in cases if f"at '/{path}" not in told] == []


@pytest.mark.parametrize(("values", "told"), OF_SEVERAL, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_values_that_contradict_each_other(chart: Any, values: dict[str, Any], told: str) -> None:
    assert told in chart.refusal(values)


@pytest.mark.parametrize("release", ["9lives", "my.release"])
def test_a_release_that_no_service_can_be_named_after(chart: Any, release: str) -> None:
    flags = (f"--name-template={release}",)
    assert "set fullnameOverride" in chart.refusal({}, HELM_4, *flags)
    objects = chart.render({"fullnameOverride": "scaler"}, HELM_4, *flags)
    assert objects.one("Service")["metadata"]["name"] == "scaler"


def test_no_message_of_the_schema_is_a_riddle() -> None:
    """Of `not` helm says no more than that it failed, and of `if` not what it was about."""
    schema = (CHART / "values.schema.json").read_text()
    assert not {"not", "if", "contains"} & set(re.findall(r'"(\w+)": [{\[]', schema))


RIGHT: list[dict[str, Any]] = [
    {"resources": {"requests": {"cpu": 2, "memory": "0.5Gi"}, "limits": {"cpu": "2000m", "memory": "512Mi"}}},
    {"resources": {"limits": {"memory": 1073741824}}},
    {"resources": {"limits": {"memory": "1e9"}}},
    {"terminationGracePeriodSeconds": 6},
    {"ports": {"health": 9090}},
    {"updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
    {"metrics": {"podMonitor": {"enabled": True, "interval": "1m30s", "scrapeTimeout": "90s"}}},
    {"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b"}]},
    {"extraEnv": [{"name": "A", "value": "1"}, {"name": "a.b-c", "value": ""}]},
    {"secretMounts": [{**SECRET, "items": [{"key": "a", "path": "b/..c/d"}]}]},
    {"tolerations": [{"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 3}]},
    {"admissionPolicy": {"enabled": True, "validationActions": ["Warn", "Audit"]}},
    {"image": {"repository": "localhost:5000/scaler"}},
    {"extraEnv": [{"name": "SCALER_HTTP_ALLOWED_HOSTS", "value": '["localhost"]'}]},
    {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": False}},
    {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}},
    {"updateStrategy": {"rollingUpdate": {"maxSurge": "200%"}}},
    {"topologySpreadConstraints": [{**SPREAD, "minDomains": 2, "whenUnsatisfiable": "DoNotSchedule"}]},
    {"hostAliases": [{"ip": "fd00::1", "hostnames": ["a"]}]},
    {"commonLabels": {"example.com/team": ""}, "podAnnotations": {"example.com/A_b": "any text: really"}},
]


@pytest.mark.parametrize("cases", together((values, "") for values in RIGHT), ids=len)
def test_what_is_right_passes(chart: Any, cases: list[Case]) -> None:
    assert chart.render(values_of(cases)).one("Deployment")
