"""TLS: the certificates of both sides, and what ScaledObjects refer to."""

from typing import Any

import pytest

OWN_CA = {"enabled": True, "certManager": {"enabled": True}}


def issuer(kind: str) -> dict[str, Any]:
    return {"enabled": True, "certManager": {"enabled": True, "issuerRef": {"name": "internal", "kind": kind}}}


def test_the_server_shows_the_certificate_that_cert_manager_makes(chart: Any) -> None:
    objects = chart.render({"tls": issuer("ClusterIssuer")})
    certificate = objects.one("Certificate", "keda-queue-scaler")["spec"]
    (volume,) = [volume for volume in objects.pod["volumes"] if volume["name"] == "tls"]
    assert volume["secret"]["secretName"] == certificate["secretName"] == "keda-queue-scaler-tls"
    assert objects.config["tls"] == {
        "certFile": "/etc/keda-queue-scaler/tls/tls.crt",
        "keyFile": "/etc/keda-queue-scaler/tls/tls.key",
        "clientCAFile": "/etc/keda-queue-scaler/tls/ca.crt",
    }
    assert certificate["dnsNames"] == [
        "keda-queue-scaler.scaling",
        "keda-queue-scaler.scaling.svc",
        "keda-queue-scaler.scaling.svc.cluster.local",
    ]
    assert certificate["issuerRef"] == {"name": "internal", "kind": "ClusterIssuer", "group": "cert-manager.io"}


def test_keda_gets_a_certificate_of_the_same_issuer_where_it_looks_for_it(chart: Any) -> None:
    objects = chart.render({"tls": issuer("ClusterIssuer")})
    client = objects.one("Certificate", "keda-queue-scaler-client-tls")
    assert client["metadata"]["namespace"] == "keda"
    assert client["spec"]["usages"] == ["client auth", "digital signature"]
    authentication = objects.one("ClusterTriggerAuthentication")
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "caCert", "name": "keda-queue-scaler-client-tls", "key": "ca.crt"},
        {"parameter": "tlsClientCert", "name": "keda-queue-scaler-client-tls", "key": "tls.crt"},
        {"parameter": "tlsClientKey", "name": "keda-queue-scaler-client-tls", "key": "tls.key"},
    ]


def test_namespaces_get_a_trigger_authentication_with_a_certificate_each(chart: Any) -> None:
    auth = {"cluster": False, "namespaces": ["shop", "billing"]}
    objects = chart.render({"tls": {**issuer("ClusterIssuer"), "triggerAuthentication": auth}})
    assert not objects.of("ClusterTriggerAuthentication")
    assert [each["metadata"]["namespace"] for each in objects.of("TriggerAuthentication")] == ["shop", "billing"]
    clients = [each for each in objects.of("Certificate") if each["metadata"]["name"].endswith("-client-tls")]
    assert [each["metadata"]["namespace"] for each in clients] == ["shop", "billing"]


def test_without_client_certificates_only_the_ca_is_referred_to(chart: Any) -> None:
    objects = chart.render({"tls": {**issuer("ClusterIssuer"), "clientAuth": False}})
    assert "clientCAFile" not in objects.config["tls"]
    references = objects.one("ClusterTriggerAuthentication")["spec"]["secretTargetRef"]
    assert [reference["parameter"] for reference in references] == ["caCert"]


def test_the_charts_own_ca_signs_for_both_sides(chart: Any) -> None:
    objects = chart.render({"tls": OWN_CA, "keda": {"namespace": "scaling"}})
    authority = objects.one("Certificate", "keda-queue-scaler-ca")["spec"]
    assert authority["isCA"] is True
    assert authority["issuerRef"]["name"] == objects.one("Issuer", "keda-queue-scaler-selfsigned")["metadata"]["name"]
    signer = objects.one("Issuer", "keda-queue-scaler-ca")
    assert signer["spec"] == {"ca": {"secretName": authority["secretName"]}}
    for name in ("keda-queue-scaler", "keda-queue-scaler-client-tls"):
        assert objects.one("Certificate", name)["spec"]["issuerRef"]["name"] == signer["metadata"]["name"]


@pytest.mark.parametrize("tls", [OWN_CA, issuer("Issuer")], ids=["own CA", "Issuer"])
def test_an_issuer_that_cannot_sign_in_kedas_namespace_is_refused(chart: Any, tls: dict[str, Any]) -> None:
    told = chart.refusal({"tls": tls})
    assert "an Issuer signs in its own namespace only" in told
    assert "namespace keda:" in told
