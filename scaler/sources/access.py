"""The access rules: which namespaces may use which queues, roles, Redis servers and URLs."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from pydantic import Field

from scaler.clients.aws.settings import AwsSettings, is_aws_host
from scaler.core.errors import NotAllowedError, Refused
from scaler.core.section import Section
from scaler.core.tenant import TENANT
from scaler.sources.base import Claim


class AccessRule(Section):
    """Grants to the triggers of some namespaces; every value is a glob, in which `*` matches any characters."""

    namespaces: tuple[str, ...] = Field(min_length=1, description="Namespaces of the ScaledObjects.")
    sqs: tuple[str, ...] = Field((), description="ARNs of queues.")
    redis: tuple[str, ...] = Field((), description="Names of Redis connections.")
    prometheus: tuple[str, ...] = Field((), description="Names of Prometheus servers.")
    urls: tuple[str, ...] = Field((), description="URLs of metrics pages, Prometheus and Redis servers in metadata.")
    kubernetes: tuple[str, ...] = Field(
        (), description="Namespaces whose objects are read; `*` for cluster-wide reads."
    )


_FIELDS = {"sqs": "sqs", "redis": "redis", "prometheus": "prometheus", "url": "urls", "kubernetes": "kubernetes"}


class Access:
    """Checks claims. Without any rule everything is allowed except AWS roles and foreign AWS endpoints."""

    def __init__(
        self,
        rules: Iterable[AccessRule] = (),
        aws: AwsSettings | None = None,
        named: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Use `rules`, and the role grants and endpoints of `aws`.

        `named` are the names in the configuration by kind (`redis`, `prometheus`), for messages.
        """
        self._rules, self._named = tuple(rules), named or {}
        self._aws = aws or AwsSettings()

    def replace_rules(self, rules: Iterable[AccessRule]) -> None:
        """Use `rules` from now on."""
        self._rules = tuple(rules)

    @property
    def restricted(self) -> bool:
        """Whether there is any rule, so that everything else is denied."""
        return bool(self._rules)

    def check(self, namespace: str, claims: Iterable[Claim]) -> None:
        """Raise `NotAllowedError`, naming the claim and the missing rule, unless `namespace` may use all `claims`."""
        for claim in claims:
            if claim.kind == "role":
                self._check_role(namespace, claim.value)
            elif claim.kind == "endpoint":
                self._check_endpoint(claim.value)
            elif self._rules and not self._allowed(namespace, claim.kind, claim.value):
                raise NotAllowedError(
                    f"namespace {namespace} may not read {claim.kind} {claim.value}; "
                    f"the configuration must allow it in access[].{_FIELDS[claim.kind]}"
                    + self._instead(namespace, claim.kind)
                )

    def _instead(self, namespace: str, kind: str) -> str:
        """Return the end of a message: the names that `namespace` may use; others are none of its business."""
        known = [name for name in sorted(self._named.get(kind, ())) if self._allowed(namespace, kind, name)]
        return f"; it may read {', '.join(known)}" if known else ""

    def known_names(self, section: str, names: Iterable[str]) -> str:
        """Return the end of a message about a name that is not in `section` of the configuration.

        With access rules the names are left out, because one reading serves tenants with different grants.
        """
        if self._rules:
            return f"see `{section}` there"
        return f"it has: {', '.join(sorted(names)) or 'none'}"

    def check_hop(self, url: str) -> None:
        """Raise `Refused` unless the tenant of the current read may fetch `url`, the target of a redirect."""
        try:
            self.check(TENANT.get(), (Claim("url", url),))
        except NotAllowedError as error:
            raise Refused(f"redirects to {url}, which is not followed: {error}") from None

    def _allowed(self, namespace: str, kind: str, value: str) -> bool:
        return any(
            _matches(namespace, rule.namespaces) and _matches(value, getattr(rule, _FIELDS[kind]))
            for rule in self._rules
        )

    def _check_role(self, namespace: str, arn: str) -> None:
        if self._aws.grant(namespace, arn) is None:
            raise NotAllowedError(
                f"namespace {namespace} may not assume role {arn}; the configuration must grant it in aws.roles"
            )

    def _check_endpoint(self, url: str) -> None:
        if not is_aws_host(url) and not _matches(url.rstrip("/"), self._aws.allowed_endpoints):
            raise NotAllowedError(
                f"awsEndpoint {url} is not a host of AWS; signed requests would go there, "
                "so the configuration must list it in aws.allowedEndpoints"
            )


def _matches(value: str, patterns: Iterable[str]) -> bool:
    """Tell whether a pattern grants `value`; a `value` with `*` at its end needs a pattern for all it stands for."""
    if not value.endswith("*"):
        return any(fnmatchcase(value, pattern) for pattern in patterns)
    # `shop-?` and `shop-[!x]` match the character `*`, but not everything that it stands for.
    return any(pattern.endswith("*") and fnmatchcase(value[:-1], pattern) for pattern in patterns)
