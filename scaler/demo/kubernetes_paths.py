"""Requests to the API double: paths, RBAC rules, and discovery documents."""

from collections.abc import Iterable
from dataclasses import dataclass

from scaler.clients.kubernetes.selectors import parse_selector
from scaler.demo.kubernetes_store import JsonObject, Kind, Matches

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


class Refusal(Exception):  # noqa: N818 - an answer, not an error of this program
    """An answer with an error status of the API."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a request: all objects of a kind, those of a namespace, or one."""

    kind: Kind
    namespace: str
    name: str

    def matches(self, selector: str) -> Matches:
        """Return the filter of a list or watch; raises `Refusal` for a bad selector."""
        try:
            wanted = parse_selector(selector)
        except ValueError as error:
            raise Refusal(400, "BadRequest", str(error)) from None
        return lambda stored: (
            self.namespace in {"", stored.namespace} and all(each.holds(stored.labels) for each in wanted)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """A right of a token, as in an RBAC rule; `*` means all."""

    verbs: tuple[str, ...] = ("*",)
    groups: tuple[str, ...] = ("*",)
    resources: tuple[str, ...] = ("*",)
    namespaces: tuple[str, ...] = ("*",)

    def grants(self, verb: str, target: Target) -> bool:
        """Tell whether the rule grants `verb` on `target`; a request for all namespaces needs a rule for all."""
        asked = (
            (verb, self.verbs),
            (target.kind.group, self.groups),
            (target.kind.plural, self.resources),
            (target.namespace or "*", self.namespaces),
        )
        return all(what in allowed or "*" in allowed for what, allowed in asked)


def forbidden(verb: str, target: Target) -> Refusal:
    """Return the answer to a request that no rule grants."""
    resource, group = target.kind.plural, target.kind.group
    where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
    what = f"{resource}.{group}" if group else resource
    return Refusal(
        403,
        "Forbidden",
        f'{what} is forbidden: User "double" cannot {verb} resource "{resource}" in API group "{group}"{where}',
    )


def not_found(what: str) -> Refusal:
    """Return the answer to a request for something that does not exist."""
    return Refusal(404, "NotFound", f"{what} not found")


def parse_path(path: str, kinds: Iterable[Kind]) -> Target:
    """Return the target of `path`; raises `Refusal` if there is none."""
    parts = path.strip("/").split("/")
    head, rest = (parts[:3], parts[3:]) if parts[0] == "apis" else (["apis", "", *parts[1:2]], parts[2:])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    for kind in kinds:
        if head == ["apis", kind.group, kind.version] and rest[:1] == [kind.plural] and len(rest) <= 2:
            return Target(kind, namespace, rest[1] if len(rest) == 2 else "")
    raise Refusal(404, "NotFound", "the server could not find the requested resource")


def discovery(path: str, kinds: Iterable[Kind]) -> JsonObject | None:
    """Return the discovery document at `path`, or None if it is no discovery path; raises `Refusal`."""
    parts = path.strip("/").split("/")
    groups: dict[str, list[str]] = {}
    for kind in kinds:
        versions = groups.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    match parts:
        case ["version"]:
            return {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": groups.get("", [])}
        case ["apis"]:
            found = [_group(group, versions) for group, versions in groups.items() if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}
        case ["apis", group]:
            if group not in groups:
                raise not_found(group)
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, groups[group])}
        case ["api", version] | ["apis", _, version]:
            return _resources("" if parts[0] == "api" else parts[1], version, kinds)
    return None


def _group(group: str, versions: list[str]) -> JsonObject:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def _resources(group: str, version: str, kinds: Iterable[Kind]) -> JsonObject:
    resources = [
        {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(VERBS),
        }
        for kind in kinds
        if (kind.group, kind.version) == (group, version)
    ]
    if not resources:
        raise not_found(f"{group}/{version}")
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}
