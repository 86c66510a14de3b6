import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import Refused, Unavailable
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_paths import Rule

CANARY = "c4n4ry-s3cr3t"


def name_of(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


PODS = Objects(Resource("", ("v1",), "pods"), "", "", name_of)

Connect = Callable[[Mapping[str, Any], Mapping[str, Any]], Kubernetes]


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Make a client of a kubeconfig with this cluster and user."""
    made: list[Kubernetes] = []

    def to(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Kubernetes:
        path = tmp_path / "kubeconfig"
        document = {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": dict(cluster)}],
            "users": [{"name": "x", "user": dict(user)}],
        }
        path.write_text(yaml.safe_dump(document))
        made.append(Kubernetes(KubernetesSettings(kubeconfig=path)))
        return made[-1]

    yield to
    for client in made:
        await client.close()


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[KubernetesDouble]:
    double = KubernetesDouble(**options)
    await double.start(tls=tls)
    double.put("pods", {"metadata": {"name": "p", "namespace": "apps"}})
    try:
        yield double
    finally:
        await double.stop()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def server_tls(ca: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def data(pem: trustme.Blob) -> str:
    return base64.b64encode(pem.bytes()).decode()


async def test_right_certificate(ca: trustme.CA, connect: Connect) -> None:
    async with serving(server_tls(ca, "127.0.0.1")) as double:
        client = connect({"server": double.url, "certificate-authority-data": data(ca.cert_pem)}, {})
        assert (await client.objects(PODS)).objects == ("p",)


@pytest.mark.parametrize(
    ("trusted", "name", "why"),
    [
        pytest.param(False, "127.0.0.1", "unable to get local issuer certificate", id="unknown CA"),
        pytest.param(True, "api.example", "IP address mismatch, certificate is not valid for '127.0.0.1'", id="name"),
    ],
)
async def test_wrong_certificate(ca: trustme.CA, connect: Connect, *, trusted: bool, name: str, why: str) -> None:
    authority = ca if trusted else trustme.CA()
    async with serving(server_tls(ca, name)) as double:
        client = connect({"server": double.url, "certificate-authority-data": data(authority.cert_pem)}, {})
        with pytest.raises(Unavailable) as fault:
            await client.objects(PODS)

    assert f"{double.url}: discover /api: its certificate is not trusted" in str(fault.value)
    assert why in str(fault.value)
    assert not double.requests


@pytest.mark.parametrize(
    "told",
    [
        pytest.param({"tls-server-name": "api.example"}, id="other name"),
        pytest.param({"insecure-skip-tls-verify": True}, id="not checked"),
    ],
)
async def test_certificate_of_another_name_that_the_operator_accepts(
    ca: trustme.CA, connect: Connect, told: Mapping[str, Any]
) -> None:
    async with serving(server_tls(ca, "api.example")) as double:
        client = connect({"server": double.url, "certificate-authority-data": data(ca.cert_pem), **told}, {})
        assert (await client.objects(PODS)).objects == ("p",)


async def test_client_certificate(ca: trustme.CA, connect: Connect) -> None:
    mine = ca.issue_cert("client@example.org")
    user = {
        "client-certificate-data": data(mine.cert_chain_pems[0]),
        "client-key-data": data(mine.private_key_pem),
    }
    async with serving(server_tls(ca, "127.0.0.1", clients=ca)) as double:
        cluster = {"server": double.url, "certificate-authority-data": data(ca.cert_pem)}
        assert (await connect(cluster, user).objects(PODS)).objects == ("p",)
        with pytest.raises(Unavailable, match=r"TLS failed|broke off"):
            await connect(cluster, {}).objects(PODS)


async def test_http_where_https_is_meant(ca: trustme.CA, connect: Connect) -> None:
    async with serving() as double:
        with pytest.raises(Unavailable, match=r"TLS failed .*; check http against https"):
            await connect({"server": double.url.replace("http:", "https:")}, {}).objects(PODS)


async def test_name_that_does_not_resolve(connect: Connect) -> None:
    with pytest.raises(Unavailable, match=r"http://api\.invalid:8001: discover /api: its name does not resolve"):
        await connect({"server": "http://api.invalid:8001"}, {}).objects(PODS)


ALL = (Rule(),)


async def test_token_that_is_not_accepted(connect: Connect) -> None:
    async with serving(tokens={"good": ALL}) as double:
        with pytest.raises(Refused, match=r"credentials are not accepted \(401\): Unauthorized") as fault:
            await connect({"server": double.url}, {"token": CANARY}).objects(PODS)

    assert CANARY not in str(fault.value)


async def test_token_that_was_rotated_is_used_at_once(tmp_path: Path, connect: Connect) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    tokens = {"first": ALL}
    async with serving(tokens=tokens) as double:
        client = connect({"server": double.url}, {"tokenFile": "token"})
        await client.objects(PODS)

        file.write_text("second")
        tokens.clear()
        tokens["second"] = ALL
        double.end_watches()
        other = Objects(PODS.resource, "apps", "", name_of)
        assert (await client.objects(other)).objects == ("p",)


async def test_token_of_a_plugin_that_was_revoked_is_asked_for_again(tmp_path: Path, connect: Connect) -> None:
    credential = tmp_path / "credential"
    tokens: dict[str, tuple[Rule, ...]] = {}

    def issue(token: str) -> None:
        version = "client.authentication.k8s.io/v1"
        document = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
        credential.write_text(json.dumps(document))
        tokens.clear()
        tokens[token] = ALL

    issue("first")
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(credential)]}
    async with serving(tokens=tokens) as double:
        client = connect({"server": double.url}, {"exec": plugin})
        await client.objects(PODS)

        issue("second")
        assert (await client.objects(Objects(PODS.resource, "apps", "", name_of))).objects == ("p",)


async def test_missing_right_is_named(connect: Connect) -> None:
    rules = (Rule(verbs=("list", "watch"), resources=("pods",), namespaces=("apps",)),)
    async with serving(tokens={"t": rules}) as double:
        client = connect({"server": double.url}, {"token": "t"})
        assert (await client.objects(Objects(PODS.resource, "apps", "", name_of))).objects == ("p",)

        with pytest.raises(Refused) as fault:
            await client.objects(PODS)

    assert "list pods in all namespaces: not allowed (403)" in str(fault.value)
    assert 'cannot list resource "pods" in API group "" at the cluster scope' in str(fault.value)
    assert "grant the RBAC verbs list and watch" in str(fault.value)


async def test_right_to_list_alone_is_not_enough(connect: Connect) -> None:
    async with serving(tokens={"t": (Rule(verbs=("list",)),)}) as double:
        with pytest.raises(Refused, match=r"watch pods in all namespaces: not allowed \(403\)"):
            await connect({"server": double.url}, {"token": "t"}).objects(PODS)
