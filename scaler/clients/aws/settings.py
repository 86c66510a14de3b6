"""AWS as far as the configuration and its names go: role grants, partitions, SQS's hosts; no requests."""

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.loaders import Loader
from pydantic import Field

from scaler.core.section import Section

REGION = r"[a-z]+(?:-[a-z]+)+-[0-9]{1,2}"
"""What all regions look like. Anything looser is a hole: `sqs.s3.amazonaws.com` is the bucket of a stranger."""


class RoleGrant(Section):
    """Roles that triggers of some namespaces may assume."""

    arn: str = Field(description="ARN of the role; `*` matches any characters.")
    namespaces: tuple[str, ...] = Field(min_length=1, description="Namespaces, globbed, whose triggers may use it.")
    external_id: str | None = Field(
        None,
        min_length=2,
        max_length=1224,
        repr=False,
        exclude=True,  # a dump of the configuration holds no secret
        description="The external id to present; never taken from metadata.",
    )


class AwsSettings(Section):
    """The section `aws:`."""

    roles: tuple[RoleGrant, ...] = ()
    allowed_endpoints: tuple[str, ...] = Field(
        (),
        description="URLs, globbed, allowed as `awsEndpoint` besides AWS's own hosts: signed requests go there.",
    )

    def grant(self, namespace: str, arn: str) -> RoleGrant | None:
        """Return the first grant that lets `namespace` assume the role `arn`, or None."""
        for grant in self.roles:
            if fnmatchcase(arn, grant.arn) and any(fnmatchcase(namespace, glob) for glob in grant.namespaces):
                return grant
        return None


@cache
def _partitions() -> list[dict[str, Any]]:
    """Return botocore's partitions: their regions, and the domains of their endpoints."""
    partitions: list[dict[str, Any]] = Loader().load_data("partitions")["partitions"]
    return partitions


def partition_of(region: str) -> str:
    """Return the partition of `region`, as in ARNs; `aws` if it is like no known one, as in botocore."""
    return next((str(p["id"]) for p in _partitions() if re.fullmatch(p["regionRegex"], region)), "aws")


def domain_of(region: str) -> str:
    """Return the domain of AWS's hosts in `region`, as in the URLs of queues."""
    found = (str(p["outputs"]["dnsSuffix"]) for p in _partitions() if re.fullmatch(p["regionRegex"], region))
    return next(found, "amazonaws.com")


@cache
def _sqs_host() -> re.Pattern[str]:
    """Return the pattern of SQS's own hosts: anybody can have a host under amazonaws.com (a bucket, a load balancer)."""
    domains = {
        partition["outputs"][domain] for partition in _partitions() for domain in ("dnsSuffix", "dualStackDnsSuffix")
    }
    suffix = "|".join(map(re.escape, sorted(domains)))
    return re.compile(
        rf"(?:sqs(?:-fips)?\.(?P<region>{REGION})\.(?:{suffix})"
        rf"|(?:(?P<legacy>{REGION})\.)?queue\.(?:{suffix})"
        rf"|vpce-[a-z0-9-]+\.sqs\.(?P<vpce>{REGION})\.vpce\.(?:{suffix}))"
    )


def is_aws_host(url: str) -> bool:
    """Tell whether `url` is an https address of SQS itself, in any partition, VPC endpoints included."""
    parts = urlsplit(url)
    return parts.scheme == "https" and _sqs_host().fullmatch(parts.hostname or "") is not None


def region_of_host(host: str) -> str | None:
    """Return the region that a host name of SQS tells, or None if it is not one; the oldest name has none in it."""
    match = _sqs_host().fullmatch(host.lower())
    if match is None:
        return None
    return match["region"] or match["vpce"] or match["legacy"] or "us-east-1"
