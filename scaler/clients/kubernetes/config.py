"""The Kubernetes API server and the identity to use: a plain URL, a kubeconfig, or the pod's service account.

No client library is used, because only this small part is needed: kubernetes-asyncio takes 2.7 s and 98 MiB to import,
and lightkube needs a second HTTP stack.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yarl import URL

from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import SettingsError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

PROXY = "run `kubectl proxy`, which knows it, and set kubernetes.url to http://127.0.0.1:8001"
_UNSUPPORTED = {  # these raise an error: ignoring them would mean another identity or another server
    "cluster": ("proxy-url",),
    "user": ("auth-provider", "username", "password", "as", "as-uid", "as-groups", "as-user-extra"),
}


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key: a file, read again when it changes, or its text."""

    file: Path | None = None
    text: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.file or self.text)

    def read(self) -> str:
        """Return the text; raises `OSError`."""
        return self.file.read_text() if self.file else self.text


NO_PEM = Pem()


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A command that prints an `ExecCredential`, such as `aws eks get-token`."""

    command: str
    args: tuple[str, ...] = field(repr=False)
    env: tuple[tuple[str, str], ...] = field(repr=False)
    api_version: str
    install_hint: str
    cluster: Mapping[str, Any] | None  # passed to the command with `provideClusterInfo`

    @property
    def name(self) -> str:
        """The command without its directory, for messages."""
        return Path(self.command).name


@dataclass(frozen=True, slots=True)
class Cluster:
    """One API server and the identity to use there."""

    server: str
    ca: Pem = NO_PEM
    verify: bool = True
    server_name: str | None = None
    certificate: Pem = NO_PEM
    key: Pem = NO_PEM
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    plugin: ExecPlugin | None = None


def find_cluster(
    settings: KubernetesSettings, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT
) -> Cluster:
    """Return the cluster of `settings`, else that of the machine; raises `SettingsError` that says what to set."""
    if settings.url:
        return Cluster(_server(settings.url, "kubernetes.url"))
    if settings.kubeconfig:
        return from_kubeconfig([settings.kubeconfig], settings.context)
    host = environ.get("KUBERNETES_SERVICE_HOST")
    if host and not settings.context and (service_account / "token").exists():
        port = environ.get("KUBERNETES_SERVICE_PORT", "443")
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return Cluster(server, ca=Pem(service_account / "ca.crt"), token_file=service_account / "token")
    listed = [Path(path) for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    files = [path for path in listed or [Path.home() / ".kube" / "config"] if path.exists()]
    if not files:
        looked = f"KUBECONFIG names {listed[0]}, which is not there" if listed else "no KUBECONFIG, no ~/.kube/config"
        raise SettingsError(f"no way to the Kubernetes API: {looked}; {_way(pod=bool(host), context=settings.context)}")
    return from_kubeconfig(files, settings.context)


def _way(*, pod: bool, context: str | None) -> str:
    if not pod:
        return "set KUBECONFIG, or kubernetes.kubeconfig, or kubernetes.url"
    if context:
        return "leave kubernetes.context (--context) out to use the pod's service account, or set kubernetes.kubeconfig"
    return (
        "this pod has no token of its service account: set in the chart what gives it one, sources.* or "
        "spareBusy.namespaces"
    )


def from_kubeconfig(files: list[Path], context: str | None = None) -> Cluster:
    """Return the cluster and user of a context, merging `files` as kubectl does: the first entry of a name wins."""
    merged: dict[str, dict[str, tuple[dict[str, Any], Path]]] = {"contexts": {}, "clusters": {}, "users": {}}
    where = ", ".join(str(file) for file in files)
    for file in files:
        document = _load(file)
        context = context or _text(document, "current-context")
        for plural, entries in merged.items():
            for entry in _entries(document, plural, file):
                entries.setdefault(_text(entry, "name"), (_map(entry, plural[:-1]), file.parent))
    if not context:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise SettingsError(
            f"kubeconfig {where} has no current-context: set kubernetes.context (--context) to one of its contexts: {known}"
        )
    chosen, _ = _named(merged, "contexts", context, where)
    cluster, cluster_home = _named(merged, "clusters", _text(chosen, "cluster"), where)
    user, user_home = _named(merged, "users", _text(chosen, "user"), where) if chosen.get("user") else ({}, Path())
    for what, part in (("cluster", cluster), ("user", user)):
        for key in _UNSUPPORTED[what]:
            if part.get(key):
                raise SettingsError(
                    f"kubeconfig {where}: {key} of the {what} in context {context} is not supported; {PROXY}"
                )
    server = _server(_text(cluster, "server"), f"kubeconfig {where}: server of context {context}")
    return Cluster(
        server=server,
        ca=_pem(cluster, "certificate-authority", cluster_home),
        verify=cluster.get("insecure-skip-tls-verify") is not True,
        server_name=_text(cluster, "tls-server-name") or None,
        certificate=_pem(user, "client-certificate", user_home),
        key=_pem(user, "client-key", user_home),
        token=_text(user, "token"),
        token_file=user_home / _text(user, "tokenFile") if user.get("tokenFile") else None,
        plugin=_plugin(_map(user, "exec"), user_home, cluster) if user.get("exec") else None,
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"kubeconfig {file} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"
        ) from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1  # not its text, which quotes the file
        raise SettingsError(f"kubeconfig {file} is not YAML, line {line}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"kubeconfig {file} is empty or not a mapping")
    return document


def _entries(document: dict[str, Any], key: str, file: Path) -> list[dict[str, Any]]:
    found = document.get(key) or []
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise SettingsError(f"kubeconfig {file}: {key} must be a list of mappings")
    return found


def _named(
    merged: Mapping[str, Mapping[str, tuple[dict[str, Any], Path]]], plural: str, name: str, where: str
) -> tuple[dict[str, Any], Path]:
    try:
        return merged[plural][name]
    except KeyError:
        known = ", ".join(sorted(merged[plural])) or "none"
        raise SettingsError(f"kubeconfig {where} has no {plural[:-1]} {name!r}; it has: {known}") from None


def _map(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise SettingsError(f"kubeconfig: {key} must be a mapping")
    return found


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    if found is not None and not isinstance(found, str):
        raise SettingsError(f"kubeconfig: {key} must be text")
    return found or ""


def _server(text: str, what: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.password:
        raise SettingsError(f"{what} must be http://HOST:PORT or https://HOST:PORT without a user name or password")
    return str(url.with_query(None).with_fragment(None)).rstrip("/")


def _pem(value: Mapping[str, Any], key: str, home: Path) -> Pem:
    if data := _text(value, f"{key}-data"):  # data wins over the file, as in client-go
        try:
            return Pem(text=base64.b64decode(data, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            raise SettingsError(f"kubeconfig: {key}-data is not base64 of a PEM text") from None
    return Pem(home / path) if (path := _text(value, key)) else NO_PEM


def _plugin(value: dict[str, Any], home: Path, cluster: Mapping[str, Any]) -> ExecPlugin:
    command, api_version = _text(value, "command"), _text(value, "apiVersion")
    if not command or api_version not in {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}:
        raise SettingsError(
            "kubeconfig: exec needs a command and apiVersion client.authentication.k8s.io/v1 or v1beta1"
        )
    if value.get("interactiveMode") == "Always":
        raise SettingsError("kubeconfig: exec with interactiveMode Always cannot be used by a server")
    if os.sep in command:  # a bare name is looked up in PATH, a path is relative to the file
        command = str(home / command)
    info = {key: cluster[key] for key in ("server", "certificate-authority-data", "tls-server-name") if key in cluster}
    return ExecPlugin(
        command=command,
        args=tuple(str(arg) for arg in value.get("args") or ()),
        env=tuple((_text(entry, "name"), _text(entry, "value")) for entry in value.get("env") or ()),
        api_version=api_version,
        install_hint=_text(value, "installHint"),
        cluster=info if value.get("provideClusterInfo") is True else None,
    )
