"""The endpoint of a request to SQS, and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.credentials import ReadOnlyCredentials

from scaler.sources.sqs.answers import error_code, error_message, fault_of


@dataclass(slots=True)
class Endpoint:
    """Where requests go, through which proxy, and how far AWS's clock is ahead of this machine's, in seconds."""

    url: str
    proxy: str | None
    skew: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, with the URL that it came from and the credentials of the request."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    endpoint: Endpoint
    credentials: ReadOnlyCredentials = field(repr=False)

    @property
    def code(self) -> str:
        """The error code."""
        return error_code(self.body, self.headers)

    def good(self, operation: str) -> bytes:
        """Return the body; raises the `Fault` for an answer other than HTTP 200."""
        if self.status == 200:
            return self.body
        message = error_message(self.body, filter(None, self.credentials[:3]))  # without the account, which is no
        # secret
        raise fault_of(self.status, self.code, operation, message)
