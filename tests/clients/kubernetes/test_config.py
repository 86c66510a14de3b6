import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from scaler.clients.kubernetes.config import find_cluster, from_kubeconfig
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import SettingsError

CANARY = "c4n4ry-s3cr3t"


def kubeconfig(path: Path, user: Any = None, cluster: Any = None, **changes: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443"} | (cluster or {})}],
        "users": [{"name": "u", "user": {} if user is None else user}],
    }
    path.write_text(yaml.safe_dump(document | changes))
    return path


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(CANARY)
    (folder / "ca.crt").write_text("ca")
    return folder


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [
        pytest.param("10.0.0.1", "443", "https://10.0.0.1:443", id="IPv4"),
        pytest.param("fd00::1", "6443", "https://[fd00::1]:6443", id="IPv6"),
    ],
)
def test_service_account_of_the_pod(account: Path, host: str, port: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBECONFIG": "/nowhere"}

    cluster = find_cluster(KubernetesSettings(), environ, account)

    assert (cluster.server, cluster.token_file) == (server, account / "token")
    assert cluster.ca.read() == "ca"
    assert cluster.verify


def test_plain_url_is_asked_without_an_identity(account: Path) -> None:
    settings = KubernetesSettings(url="http://127.0.0.1:8001/")

    cluster = find_cluster(settings, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, account)

    assert cluster.server == "http://127.0.0.1:8001"
    assert not cluster.token
    assert cluster.token_file is None


def test_settings_go_before_the_environment(tmp_path: Path, account: Path) -> None:
    chosen = kubeconfig(tmp_path / "a", {"token": "a"})
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBECONFIG": str(kubeconfig(tmp_path / "b", {"token": "b"}))}

    assert find_cluster(KubernetesSettings(kubeconfig=chosen), environ, account).token == "a"


def test_default_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", {"token": "at home"})

    assert find_cluster(KubernetesSettings(), {}, tmp_path).token == "at home"


@pytest.mark.parametrize(
    ("environ", "context", "why"),
    [
        ({}, None, r"no KUBECONFIG, no ~/\.kube/config; set KUBECONFIG, or kubernetes\.kubeconfig, or kubernetes\.url"),
        ({"KUBECONFIG": "/nowhere"}, None, "KUBECONFIG names /nowhere, which is not there; set KUBECONFIG"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None, r"this pod has no token .*: set in the chart .* sources\.\*"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "main", r"leave kubernetes\.context \(--context\) out"),
    ],
    ids=["machine", "file", "pod", "pod with context"],
)
def test_no_way_says_why_and_what_to_set(
    environ: dict[str, str], context: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(SettingsError, match=why):
        find_cluster(KubernetesSettings(context=context), environ, tmp_path)


def test_several_files_are_merged_and_the_first_to_name_a_thing_wins(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "first", {"token": "first"}, clusters=[], **{"current-context": ""})
    (tmp_path / "sub").mkdir()
    second = kubeconfig(tmp_path / "sub" / "second", {"token": "second"}, {"certificate-authority": "ca.crt"})

    cluster = find_cluster(KubernetesSettings(), {"KUBECONFIG": f"{first}:/nowhere:{second}"}, tmp_path)

    assert cluster.token == "first"
    assert cluster.server == "https://api.example:6443"
    assert cluster.ca.file == tmp_path / "sub" / "ca.crt"  # relative to the file that names it


def test_context_of_the_settings(tmp_path: Path) -> None:
    contexts = [{"name": name, "context": {"cluster": "c", "user": name}} for name in ("main", "other")]
    users = [{"name": name, "user": {"token": f"of {name}"}} for name in ("main", "other")]
    path = kubeconfig(tmp_path / "config", contexts=contexts, users=users)

    assert from_kubeconfig([path]).token == "of main"
    assert from_kubeconfig([path], "other").token == "of other"
    with pytest.raises(SettingsError, match="no context 'third'; it has: main, other"):
        from_kubeconfig([path], "third")


def test_certificates_as_data_and_as_files(tmp_path: Path) -> None:
    data = base64.b64encode(b"PEM").decode()
    path = kubeconfig(
        tmp_path / "config",
        {"client-certificate-data": data, "client-certificate": "ignored", "client-key": "/abs/key"},
        {"certificate-authority-data": data, "insecure-skip-tls-verify": True, "tls-server-name": "kubernetes"},
    )

    cluster = from_kubeconfig([path])

    assert (cluster.ca.read(), cluster.certificate.read()) == ("PEM", "PEM")
    assert cluster.key.file == Path("/abs/key")
    assert not cluster.verify
    assert cluster.server_name == "kubernetes"


def test_exec_plugin(tmp_path: Path) -> None:
    exec_ = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "./bin/aws",
        "args": ["eks", "get-token"],
        "env": [{"name": "AWS_PROFILE", "value": "p"}],
        "installHint": "install it",
        "provideClusterInfo": True,
    }

    plugin = from_kubeconfig([kubeconfig(tmp_path / "config", {"exec": exec_})]).plugin

    assert plugin.command == str(tmp_path / "bin" / "aws")
    assert (plugin.args, plugin.env) == (("eks", "get-token"), (("AWS_PROFILE", "p"),))
    assert plugin.cluster == {"server": "https://api.example:6443"}
    assert from_kubeconfig([kubeconfig(tmp_path / "b", {"exec": exec_ | {"command": "aws"}})]).plugin.command == "aws"


V1 = "client.authentication.k8s.io/v1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"user": {"auth-provider": {"name": "gcp"}}}, "auth-provider of the user", id="auth provider"),
        pytest.param({"user": {"username": "u", "password": CANARY}}, "username of the user", id="basic"),
        pytest.param({"user": {"as": "admin", "token": CANARY}}, "as of the user", id="impersonation"),
        pytest.param(
            {"cluster": {"proxy-url": f"http://u:{CANARY}@p"}}, "not supported; run `kubectl proxy`", id="proxy"
        ),
        pytest.param({"cluster": {"server": f"https://u:{CANARY}@api"}}, "without a user name", id="userinfo"),
        pytest.param({"cluster": {"server": "api:6443"}}, "https://HOST:PORT", id="no scheme"),
        pytest.param({"user": {"client-key-data": f"?{CANARY}?"}}, "client-key-data is not base64", id="no base64"),
        pytest.param({"user": {"token": [CANARY]}}, "token must be text", id="token no text"),
        pytest.param({"user": [CANARY]}, "user must be a mapping", id="user no mapping"),
        pytest.param({"users": {CANARY: 1}}, "users must be a list", id="users no list"),
        pytest.param({"users": []}, "has no user 'u'; it has: none", id="no such user"),
        pytest.param(
            {"current-context": ""}, "set kubernetes.context (--context) to one of its contexts: main", id="no context"
        ),
        pytest.param(
            {"user": {"exec": {"command": "x", "apiVersion": "v0"}}},
            "users[0].user.exec.apiVersion must be client.authentication.k8s.io/v1 or v1beta1",
            id="exec version",
        ),
        pytest.param(
            {"user": {"exec": {"command": "x", "apiVersion": V1, "interactiveMode": "Always"}}},
            "interactiveMode Always",
            id="exec interactive",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        from_kubeconfig([kubeconfig(tmp_path / "config", **changes)])

    assert message in str(refused.value)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"users": {CANARY: 1}}, "users must be a list"),
        ({"users": [CANARY]}, "users must be a list of mappings"),
        ({"clusters": [{"name": "c", "cluster": [CANARY]}]}, "clusters[0].cluster must be a mapping"),
        ({"contexts": [{"name": "main", "context": CANARY}]}, "contexts[0].context must be a mapping"),
        ({"contexts": [{"name": 5}]}, "contexts[0].name must be text"),
        ({"current-context": [CANARY]}, "current-context must be text"),
        ({"cluster": {"insecure-skip-tls-verify": CANARY}}, "clusters[0].cluster.insecure-skip-tls-verify must be true or false"),
        ({"cluster": {"certificate-authority": {CANARY: 1}}}, "clusters[0].cluster.certificate-authority must be text"),
        ({"cluster": {"server": 6443}}, "clusters[0].cluster.server must be text"),
        ({"user": {"token": 5}}, "users[0].user.token must be text"),
        ({"user": {"tokenFile": [CANARY]}}, "users[0].user.tokenFile must be text"),
        ({"user": {"client-key-data": f"?{CANARY}?"}}, "users[0].user.client-key-data is not base64 of a PEM text"),
        ({"user": {"exec": [CANARY]}}, "users[0].user.exec must be a mapping"),
        ({"user": {"exec": {"apiVersion": V1}}}, "users[0].user.exec.command is required"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "args": CANARY}}}, "users[0].user.exec.args must be a list"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "args": [[CANARY]]}}}, "users[0].user.exec.args must be a list of texts"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "env": {"A": CANARY}}}}, "users[0].user.exec.env must be a list"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "env": [CANARY]}}}, "users[0].user.exec.env must be a list of mappings"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "env": [{"name": "A", "value": 5}]}}}, "users[0].user.exec.env[0].value must be text"),
        ({"user": {"exec": {"command": "x", "apiVersion": V1, "provideClusterInfo": "yes"}}}, "users[0].user.exec.provideClusterInfo must be true or false"),
    ],
)  # fmt: skip
def test_a_wrong_type_names_file_and_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = kubeconfig(tmp_path / "config", **changes)
    with pytest.raises(SettingsError) as refused:
        from_kubeconfig([path])
    assert str(refused.value) == f"kubeconfig {path}: {message}"


def test_of_several_files_the_one_with_the_error_is_named(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "first", users=[])
    second = kubeconfig(tmp_path / "second", {"token": [CANARY]})
    with pytest.raises(SettingsError, match=f"^kubeconfig {second}: users\\[0\\].user.token must be text$"):
        from_kubeconfig([first, second])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"users: [{CANARY}", "not YAML, line", id="broken YAML"),
        pytest.param("- a list", "not a mapping", id="list"),
        pytest.param("", "empty", id="empty"),
        pytest.param(None, "cannot be read: No such file", id="missing"),
    ],
)
def test_file_that_is_no_kubeconfig(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)

    with pytest.raises(SettingsError) as refused:
        from_kubeconfig([path])

    assert message in str(refused.value)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None


def test_no_secret_in_a_dump(tmp_path: Path) -> None:
    data = base64.b64encode(CANARY.encode()).decode()
    exec_ = {"apiVersion": V1, "command": "x", "args": [CANARY], "env": [{"name": "X", "value": CANARY}]}
    user = {"token": CANARY, "client-certificate-data": data, "client-key-data": data, "exec": exec_}

    assert CANARY not in repr(from_kubeconfig([kubeconfig(tmp_path / "config", user)]))


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"url": f"http://u:{CANARY}@127.0.0.1"}, id="userinfo"),
        pytest.param({"url": "ftp://127.0.0.1"}, id="scheme"),
        pytest.param({"url": f"http://127.0.0.1?token={CANARY}"}, id="query"),
        pytest.param({"url": "http://127.0.0.1", "context": "main"}, id="two ways"),
        pytest.param({"maxObjects": 0}, id="no objects"),
    ],
)
def test_settings_that_are_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        KubernetesSettings.model_validate(wrong)

    assert CANARY not in str(refused.value)
