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
from typing import Any, TypeVar

import yaml
from yarl import URL

from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import SettingsError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_T = TypeVar("_T")
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A mapping of a kubeconfig, with its file and the way to it: `users[0].user`. What reads it names both in errors."""

    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    file: Path = Path()
    path: str = ""

    def error(self, key: str, problem: str) -> SettingsError:
        """Return an error about the field `key`; it never shows a value."""
        return SettingsError(f"kubeconfig {self.file}: {self.path}{'.' if self.path else ''}{key} {problem}")

    def text(self, key: str) -> str:
        """Return the text of `key`, "" without one."""
        return self._typed(key, str, "text") or ""

    def flag(self, key: str) -> bool:
        """Return whether `key` is true."""
        return self._typed(key, bool, "true or false") or False

    def part(self, key: str) -> "_Part":
        """Return the mapping under `key`, empty without one."""
        values = self._typed(key, dict, "a mapping") or {}
        return _Part(values, self.file, f"{self.path}.{key}" if self.path else key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of texts under `key`, empty without one."""
        found = self._typed(key, list, "a list") or []
        if not all(isinstance(each, str) for each in found):
            raise self.error(key, "must be a list of texts")
        return tuple(found)

    def parts(self, key: str) -> "list[_Part]":
        """Return the list of mappings under `key`, empty without one."""
        found = self._typed(key, list, "a list") or []
        if not all(isinstance(each, dict) for each in found):
            raise self.error(key, "must be a list of mappings")
        place = f"{self.path}.{key}" if self.path else key
        return [_Part(each, self.file, f"{place}[{index}]") for index, each in enumerate(found)]

    def pem(self, key: str) -> Pem:
        """Return the certificates or the key of `KEY-data`, else of the file under `KEY`; client-go does the same."""
        if data := self.text(f"{key}-data"):
            try:
                return Pem(text=base64.b64decode(data, validate=True).decode())
            except (binascii.Error, UnicodeDecodeError):
                raise self.error(f"{key}-data", "is not base64 of a PEM text") from None
        return Pem(self.home / path) if (path := self.text(key)) else NO_PEM

    @property
    def home(self) -> Path:
        """The folder that paths are relative to."""
        return self.file.parent

    def _typed(self, key: str, kind: type[_T], name: str) -> _T | None:
        found = self.values.get(key)
        if found is not None and not isinstance(found, kind):
            raise self.error(key, f"must be {name}")
        return found


def from_kubeconfig(files: list[Path], context: str | None = None) -> Cluster:
    """Return the cluster and user of a context, merging `files` as kubectl does: the first entry of a name wins."""
    merged: dict[str, dict[str, _Part]] = {"contexts": {}, "clusters": {}, "users": {}}
    where = ", ".join(str(file) for file in files)
    for file in files:
        document = _Part(_load(file), file)
        context = context or document.text("current-context")
        for plural, entries in merged.items():
            for entry in document.parts(plural):
                entries.setdefault(entry.text("name"), entry.part(plural[:-1]))
    if not context:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise SettingsError(
            f"kubeconfig {where} has no current-context: set kubernetes.context (--context) to one of its contexts: {known}"
        )
    chosen = _named(merged, "contexts", context, where)
    cluster = _named(merged, "clusters", chosen.text("cluster"), where)
    user = _named(merged, "users", name, where) if (name := chosen.text("user")) else _Part()
    for what, part in (("cluster", cluster), ("user", user)):
        for key in _UNSUPPORTED[what]:
            if part.values.get(key):
                raise SettingsError(
                    f"kubeconfig {part.file}: {key} of the {what} in context {context} is not supported; {PROXY}"
                )
    server = _server(cluster.text("server"), f"kubeconfig {cluster.file}: server of context {context}")
    token_file = user.text("tokenFile")
    return Cluster(
        server=server,
        ca=cluster.pem("certificate-authority"),
        verify=not cluster.flag("insecure-skip-tls-verify"),
        server_name=cluster.text("tls-server-name") or None,
        certificate=user.pem("client-certificate"),
        key=user.pem("client-key"),
        token=user.text("token"),
        token_file=user.home / token_file if token_file else None,
        plugin=_plugin(user.part("exec"), cluster) if user.values.get("exec") else None,
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


def _named(merged: Mapping[str, Mapping[str, _Part]], plural: str, name: str, where: str) -> _Part:
    try:
        return merged[plural][name]
    except KeyError:
        known = ", ".join(sorted(merged[plural])) or "none"
        raise SettingsError(f"kubeconfig {where} has no {plural[:-1]} {name!r}; it has: {known}") from None


def _server(text: str, what: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.password:
        raise SettingsError(f"{what} must be http://HOST:PORT or https://HOST:PORT without a user name or password")
    return str(url.with_query(None).with_fragment(None)).rstrip("/")


def _plugin(given: _Part, cluster: _Part) -> ExecPlugin:
    command, api_version = given.text("command"), given.text("apiVersion")
    if not command:
        raise given.error("command", "is required")
    if api_version not in {"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}:
        raise given.error("apiVersion", "must be client.authentication.k8s.io/v1 or v1beta1")
    if given.text("interactiveMode") == "Always":
        raise given.error("interactiveMode", "Always cannot be used by a server")
    if os.sep in command:  # a bare name is looked up in PATH, a path is relative to the file
        command = str(given.home / command)
    keys = ("server", "certificate-authority-data", "tls-server-name")
    return ExecPlugin(
        command=command,
        args=given.texts("args"),
        env=tuple((entry.text("name"), entry.text("value")) for entry in given.parts("env")),
        api_version=api_version,
        install_hint=given.text("installHint"),
        cluster={key: cluster.values[key] for key in keys if key in cluster.values}
        if given.flag("provideClusterInfo")
        else None,
    )
