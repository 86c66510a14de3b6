"""What `helm install` tells: the address, and a ScaledObject that works."""

import re
import textwrap
from typing import Any

import pytest
import yaml

from scaler.keda import manifests
from scaler.sources.triggers import parse
from tools import crds
from tools.markdown import anchors

ISSUER = {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "internal"}}}


def scaled_object(notes: str) -> dict[str, Any]:
    """Return the manifest in the notes: the indented block that begins with its apiVersion."""
    lines = notes[notes.index("    apiVersion: keda.sh/v1alpha1") :].splitlines()
    block = lines[: next(number for number, line in enumerate(lines) if line and not line.startswith("    "))]
    found: dict[str, Any] = yaml.safe_load(textwrap.dedent("\n".join(block)))
    return found


@pytest.mark.parametrize(
    ("values", "authentication"),
    [
        ({}, None),
        ({"tls": ISSUER}, {"name": "keda-queue-scaler", "kind": "ClusterTriggerAuthentication"}),
        (
            {"tls": {**ISSUER, "triggerAuthentication": {"cluster": False, "namespaces": ["shop"]}}},
            {"name": "keda-queue-scaler"},
        ),
        ({"tls": {**ISSUER, "clientAuth": False, "triggerAuthentication": {"cluster": False}}}, None),
    ],
    ids=["plain", "TLS", "TLS by namespace", "TLS without authentication"],
)
def test_the_scaled_object_of_the_notes_works(
    chart: Any, values: dict[str, Any], authentication: dict[str, str] | None
) -> None:
    manifest = scaled_object(chart.notes(values))
    crds.validate(manifest)
    read = manifests.parse(yaml.safe_dump(manifest))
    assert not read.findings
    (trigger,) = manifest["spec"]["triggers"]
    assert parse(trigger["metadata"], "shop").source == "sqs"
    assert trigger["metadata"]["scalerAddress"] == "keda-queue-scaler.scaling.svc.cluster.local:9090"
    assert trigger.get("authenticationRef") == authentication
    assert ("enableTLS" in trigger["metadata"]) == ("tls" in values and authentication is None)


def test_the_address_follows_name_port_and_domain(chart: Any) -> None:
    notes = chart.notes({"fullnameOverride": "scaler", "ports": {"grpc": 50051}, "clusterDomain": "example.internal"})
    assert "scalerAddress: scaler.scaling.svc.example.internal:50051" in notes


@pytest.mark.parametrize(
    ("values", "warning", "followed"),
    [
        ({}, "config.access is empty", {"config": {"access": [{"namespaces": ["shop"], "sqs": ["*"]}]}}),
        (
            {"networkPolicy": {"enabled": False}},
            "set networkPolicy.enabled, or tls.enabled with tls.clientAuth",
            {"networkPolicy": {"enabled": False}, "tls": ISSUER},
        ),
        ({"replicas": 1}, "set replicas to 2", {"replicas": 2}),
        ({"terminationGracePeriodSeconds": 20}, "0 lets the chart compute it", {"terminationGracePeriodSeconds": 0}),
    ],
    ids=["no access rules", "anybody may call", "one replica", "a short end"],
)
def test_a_weak_installation_is_warned_about_until_the_advice_is_followed(
    chart: Any, values: dict[str, Any], warning: str, followed: dict[str, Any]
) -> None:
    strong = {"config": {"access": [{"namespaces": ["shop"], "sqs": ["*"]}]}, "tls": ISSUER}
    assert re.search(f"WARNING: .*{warning}", chart.notes(values))
    assert warning not in chart.notes(followed)
    assert "WARNING" not in chart.notes(strong)


def test_links_are_whole_and_lead_to_this_version(chart: Any) -> None:
    notes = chart.notes()
    links = re.findall(r"https://github.com/\S+", notes)
    assert len(links) >= 4
    root = chart.path.parents[1]
    for link in links:
        path, _, anchor = link.partition("/v0.1.0/")[2].partition("#")
        assert (root / path).exists() or link.endswith("/tree/v0.1.0/samples"), link
        assert not anchor or anchor in anchors((root / path).read_text()), link
    assert not re.search(r"(?<!/)\b(docs|samples)/", notes)


def test_the_rate_limit_that_kedas_operator_needs_is_told(chart: Any) -> None:
    assert "--kube-api-qps" in chart.notes()
