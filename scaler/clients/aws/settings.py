"""AWS in the configuration: role grants; and names of AWS: partitions, regions, hosts of SQS. No requests."""

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.loaders import Loader
from pydantic import Field

from scaler.core.section import Section

REGION = r"[a-z]+(?:-[a-z]+)+-[0-9]{1,2}"
"""The form of all regions. A looser pattern would be a security hole: `sqs.s3.amazonaws.com` is anybody's bucket."""


class RoleGrant(Section):
    """Roles that triggers of some namespaces may assume."""

    arn: str = Field(description="ARN of the role; `*` matches any characters.")
    namespaces: tuple[str, ...] = Field(min_length=1, description="Namespaces, globbed, whose triggers may use it.")
    external_id: str | None = Field(
        None,
        min_length=2,
        max_length=1224,
        repr=False,
        exclude=True,  # so that a dump of the configuration has no secret
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
    """Return the partition of `region`, as in ARNs; `aws` for an unknown one, as in botocore."""
    return next((str(p["id"]) for p in _partitions() if re.fullmatch(p["regionRegex"], region)), "aws")


@cache
def _sqs_host() -> re.Pattern[str]:
    """Return the pattern of SQS's own hosts; other hosts under amazonaws.com can be anybody's bucket."""
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
    """Tell whether `url` is an https URL of SQS itself, in any partition, VPC endpoints included."""
    parts = urlsplit(url)
    return parts.scheme == "https" and _sqs_host().fullmatch(parts.hostname or "") is not None


def region_of_host(host: str) -> str | None:
    """Return the region in a host name of SQS, None for another host; the oldest form of name has no region."""
    match = _sqs_host().fullmatch(host.lower())
    if match is None:
        return None
    return match["region"] or match["vpce"] or match["legacy"] or "us-east-1"
