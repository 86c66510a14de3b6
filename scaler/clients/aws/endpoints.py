"""Where requests to AWS go, by botocore's own rules and configuration, without one of its clients: 0.1 ms, not 6."""

from functools import cache
from typing import Any

from botocore.configprovider import ConfiguredEndpointProvider  # private; the tests compare with boto3
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import InvalidEndpointConfigurationError
from botocore.loaders import Loader
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url, validate_region_name

_ASKED = frozenset(("sqs", "sts", "oidc", "portal.sso"))
"""The services in use: SQS, and those for credentials."""


class SmallLoader(Loader):
    """Keeps of botocore's list of all services' endpoints, which takes 7 MB, only those of the services in use.

    Only botocore's clients load the list: those that get credentials for a role.
    """

    def load_data_with_path(self, name: str) -> Any:
        """Return the data `name` and its path; the base class keeps what it returned."""
        found = super().load_data_with_path(name)
        if name == "endpoints":
            for partition in found[0]["partitions"]:
                partition["services"] = {name: each for name, each in partition["services"].items() if name in _ASKED}
        return found


@cache
def _rules(service: str) -> EndpointProvider:
    loader = Loader()
    return EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), loader.load_data("partitions"))


def endpoint_of(session: Any, service: str, region: str, url: str | None) -> str:
    """Return `url`, else the endpoint that AWS's configuration names (`AWS_ENDPOINT_URL…`), else that of the rules.

    Raises `BotoCoreError` or `ValueError` for a region, a URL or a profile that cannot be.
    """
    validate_region_name(region)
    if not url and not session.get_config_variable("ignore_configured_endpoint_urls"):
        url = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), service).provide()
    if url:
        if not (is_valid_endpoint_url(url) or is_valid_ipv6_endpoint_url(url)):
            # Not the URL itself, which may have a password.
            raise InvalidEndpointConfigurationError(
                msg=f"the configured endpoint of {service} is no http:// or https:// URL; check AWS_ENDPOINT_URL, "
                f"AWS_ENDPOINT_URL_{service.upper()} and endpoint_url in AWS's configuration file"
            )
        return str(url)
    variants = {
        parameter: bool(session.get_config_variable(name))
        for parameter, name in (("UseFIPS", "use_fips_endpoint"), ("UseDualStack", "use_dualstack_endpoint"))
    }
    return str(_rules(service).resolve_endpoint(Region=region, **variants).url)
