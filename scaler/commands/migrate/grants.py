"""The configuration that migrated triggers need, as values of the chart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from scaler.clients.aws.settings import is_aws_host
from scaler.commands.migrate.model import Connection
from scaler.commands.migrate.plan import Plan
from scaler.keda.scalable import ScaledJob, ScaledObject
from scaler.sources.base import Claim

_FIELDS = {"sqs": "sqs", "redis": "redis", "prometheus": "prometheus", "url": "urls", "kubernetes": "kubernetes"}


def values(claims: Mapping[str, Iterable[Claim]], connections: Iterable[Connection]) -> dict[str, Any]:
    """Return values of the chart that grant `claims`, by namespace, and define `connections`."""
    named = {connection.name: connection for connection in connections if connection.name}
    config = _aws(claims)
    if named:
        config["redis"] = {name: dict(connection.config) for name, connection in sorted(named.items())}
    access = [
        {"namespaces": [namespace], **fields} for namespace, each in sorted(claims.items()) if (fields := _access(each))
    ]
    config |= {"access": access} if access else {}
    result: dict[str, Any] = {"config": config} if config else {}
    if mounts := [
        {"name": mount, "secretName": secret}
        for _, connection in sorted(named.items())
        for mount, secret in connection.mounts
    ]:
        result["secretMounts"] = mounts
    return result


def _aws(claims: Mapping[str, Iterable[Claim]]) -> dict[str, Any]:
    roles: dict[str, set[str]] = defaultdict(set)
    endpoints: set[str] = set()
    for namespace, each in claims.items():
        for claim in each:
            if claim.kind == "role":
                roles[claim.value].add(namespace)
            elif claim.kind == "endpoint" and not is_aws_host(claim.value):
                endpoints.add(claim.value)
    found: dict[str, Any] = {}
    if roles:
        found["roles"] = [{"arn": arn, "namespaces": sorted(spaces)} for arn, spaces in sorted(roles.items())]
    if endpoints:
        found["allowedEndpoints"] = sorted(endpoints)
    return {"aws": found} if found else {}


def _access(claims: Iterable[Claim]) -> dict[str, list[str]]:
    fields: dict[str, set[str]] = defaultdict(set)
    for claim in claims:
        if claim.kind in _FIELDS:
            fields[_FIELDS[claim.kind]].add(claim.value)
    return {field: sorted(found) for field, found in fields.items()}


def _ambiguous(connections: Iterable[Connection]) -> Iterable[tuple[str, str]]:
    """Yield each name of different connections, and their URLs, which have no password.

    They differ if anything does, the variables and Secrets included that a part of them comes from.
    """
    found: dict[str, dict[Connection, None]] = defaultdict(dict)
    for connection in connections:
        if connection.config:
            found[connection.name][connection] = None
    for name, different in sorted(found.items()):
        if len(different) > 1:
            yield name, ", ".join(dict.fromkeys(dict(connection.config)["url"] for connection in different))


def written(plans: Iterable[tuple[ScaledObject | ScaledJob, Plan]]) -> str:
    """Return the values as YAML with an explanation; "" if nothing must be granted."""
    claims: dict[str, list[Claim]] = defaultdict(list)
    connections: list[Connection] = []
    for owner, plan in plans:
        claims[owner.namespace] += plan.claims
        connections += plan.connections
    found = values(claims, connections)
    queues = sorted({claim.value for each in claims.values() for claim in each if claim.kind == "sqs"})
    if not found and not queues:
        return ""
    lines = ["# What must be granted, as values of the chart; what stands under `config` is the configuration file."]
    if "access" in found.get("config", {}):
        lines.append(
            "# As soon as `access` has a rule, everything that no rule allows is refused: add to those that you have."
        )
    if queues:
        lines.append("# In AWS, the identity that reads needs sqs:GetQueueAttributes on the queues below")
    if found.get("config", {}).get("aws", {}).get("roles"):
        lines.append(
            "# (the roles themselves have that already), and the scaler's own role sts:AssumeRole on the roles,"
        )
        lines.append("# which must trust it.")
    lines += (
        f"# CAUTION: different connections are called {name} ({urls}), and only the last one stands under config.redis: "
        "give each a name of its own, here and in its triggers."
        for name, urls in _ambiguous(connections)
    )
    return "\n".join(lines) + "\n" + yaml.safe_dump(found, sort_keys=False, width=200)
