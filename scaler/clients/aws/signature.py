"""AWS's signature version 4, by botocore, for requests that are sent without boto3."""

import datetime as dt
from dataclasses import dataclass, field

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

REUSE_SECONDS = 60.0
"""How long a signed request is sent again. AWS accepts a request within 5 minutes of its signed date (IAM User Guide,
Signature Version 4), and signing takes longer than sending."""


class _Signer(SigV4Auth):
    """Signs at a given time, for machines with a wrong clock, and does not log the request, as it has the token."""

    def add_auth_at(self, request: AWSRequest, when: dt.datetime) -> None:
        request.context["timestamp"] = when.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)  # type: ignore[attr-defined]  # missing in the stubs
        signature = self.signature(self.string_to_sign(request, self.canonical_request(request)), request)
        self._inject_signature_to_request(request, signature)  # type: ignore[attr-defined]  # missing in the stubs


@dataclass(frozen=True, slots=True)
class Scope:
    """Region and service of a signature; `service` is AWS's signing name."""

    region: str
    service: str


def signed_headers(
    credentials: ReadOnlyCredentials, scope: Scope, request: tuple[str, dict[str, str], bytes], now: float
) -> dict[str, str]:
    """Return the headers with a signature for a POST `request` (URL, headers, body) at Unix time `now`."""
    url, headers, body = request
    signed = AWSRequest(method="POST", url=url, headers=headers, data=body)
    _Signer(credentials, scope.service, scope.region).add_auth_at(signed, dt.datetime.fromtimestamp(now, dt.UTC))
    return dict(signed.headers.items())


@dataclass(frozen=True, slots=True)
class Signed:
    """The body and headers of a request that was signed with `credentials` at Unix time `at`."""

    body: bytes
    headers: dict[str, str] = field(repr=False)
    credentials: ReadOnlyCredentials = field(repr=False)
    at: float

    def serves(self, credentials: ReadOnlyCredentials, now: float) -> bool:
        """Tell whether it may be sent again at Unix time `now` if the credentials are `credentials`."""
        return credentials is self.credentials and 0 <= now - self.at < REUSE_SECONDS
