"""TriggerAuthentications: which parameters they pass to a trigger. External triggers can only use some."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TLS_PARAMETERS = frozenset({"caCert", "tlsClientCert", "tlsClientKey"})
"""The only parameters that KEDA uses for an external scaler's connection (KEDA pkg/scalers/external_scaler.go)."""
KINDS = ("TriggerAuthentication", "ClusterTriggerAuthentication")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a TriggerAuthentication; `where` says in words from where its value comes."""

    name: str
    where: str


@dataclass(frozen=True, slots=True)
class Authentication:
    """A TriggerAuthentication; a ClusterTriggerAuthentication has no namespace.

    `provider` is that of the pod identity ("" without one and for `none`), `role` its AWS role.
    """

    kind: str
    namespace: str
    name: str
    file: str
    line: int
    parameters: tuple[Parameter, ...] = ()
    provider: str = ""
    role: str = ""

    @property
    def serves_tls(self) -> bool:
        """Whether an external trigger can use it."""
        return any(parameter.name in TLS_PARAMETERS for parameter in self.parameters)

    @property
    def half_a_certificate(self) -> str:
        """Which of a client certificate and its key it has alone; "" if both or none. KEDA ignores one alone."""
        pair = [each.name for each in self.parameters if each.name in {"tlsClientCert", "tlsClientKey"}]
        return pair[0] if len({*pair}) == 1 else ""


def authentication(data: dict[str, Any], file: str, line: int) -> Authentication | None:
    """Parse `data`, an object of one of `KINDS`; None without a name, as in a patch."""
    metadata, spec = _mapping(data.get("metadata")), _mapping(data.get("spec"))
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        return None
    namespace = metadata.get("namespace")
    identity = _mapping(spec.get("podIdentity"))
    provider, role = identity.get("provider"), identity.get("roleArn")
    return Authentication(
        data["kind"],
        "" if data["kind"] == KINDS[1] else namespace if isinstance(namespace, str) and namespace else "default",
        name,
        file,
        line,
        tuple(_parameters(spec)),
        provider if isinstance(provider, str) and provider != "none" else "",
        role if isinstance(role, str) else "",
    )


def _parameters(spec: dict[str, Any]) -> Iterator[Parameter]:
    for key, kind in (("secretTargetRef", "Secret"), ("configMapTargetRef", "ConfigMap")):
        for entry in _mappings(spec.get(key)):
            yield Parameter(str(entry.get("parameter")), f"{kind} {entry.get('name')}, key {entry.get('key')}")
    for entry in _mappings(spec.get("env")):
        yield Parameter(str(entry.get("parameter")), f"environment variable {entry.get('name')}")
    for key in ("hashiCorpVault", "azureKeyVault", "gcpSecretManager", "awsSecretManager"):
        for entry in _mappings(_mapping(spec.get(key)).get("secrets")):
            yield Parameter(str(entry.get("parameter")), key)


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _mappings(data: Any) -> list[dict[str, Any]]:
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
