"""What SQS answers, parsed: counts, listings, and what its errors stand for; pure."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from scaler.clients.aws.identity import EXPIRED
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.sources.sqs.places import QUEUE_NAME, Counts, queue_name

ATTRIBUTES = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
SKEWED = frozenset(("RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"))
"""What AWS says of a signature that is too old or too new, or wrong altogether."""
# botocore has no public lists
_THROTTLED = frozenset(ThrottledRetryableChecker._THROTTLED_ERROR_CODES)  # type: ignore[attr-defined]  # noqa: SLF001
_TRANSIENT = frozenset(TransientRetryableChecker._TRANSIENT_ERROR_CODES)  # type: ignore[attr-defined]  # noqa: SLF001

_HINTS = (
    (
        {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"},
        "this account has no such queue in this region; check queueURL and awsRegion",
    ),
    ({"InvalidAddress"}, "the queue is not at this endpoint; check queueURL, awsRegion and awsEndpoint"),
    ({"AccessDenied", "AccessDeniedException"}, "allow sqs:{operation} on the queue to the identity that reads"),
    (EXPIRED, "the credentials are not valid, or not in this partition of AWS"),
    (SKEWED, "the signature is refused; check the secret key and this machine's clock"),
)


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a good answer; raises `Unavailable` if it is none."""
    parsed = _json_object(body)
    if parsed is None:
        raise Unavailable("the answer is not the JSON that SQS sends; is the endpoint SQS?")
    return parsed


def parse_counts(answer: Mapping[str, Any]) -> Counts:
    """Return the three counts; raises `Unavailable` if one is missing or is no count."""
    attributes = answer.get("Attributes")
    found = {}
    for field, name in ATTRIBUTES.items():
        text = attributes.get(name) if isinstance(attributes, dict) else None
        if not isinstance(text, str) or not re.fullmatch("[0-9]{1,19}", text):
            raise Unavailable(f"GetQueueAttributes answered without a usable {name}")
        found[field] = int(text)
    return Counts(**found)


@lru_cache(maxsize=4)
def counts_of(body: bytes) -> Counts:
    """Return the three counts of a good answer; idle queues, which are asked most often, all answer with the same bytes.

    Raises `Unavailable` as `parse_body` and `parse_counts` do.
    """
    return parse_counts(parse_body(body))


def parse_listing(answer: Mapping[str, Any], prefix: str) -> list[str]:
    """Return the URLs of ListQueues, which leaves the field out when there is none; raises `Unavailable` if garbled."""
    urls = answer.get("QueueUrls", [])
    if not isinstance(urls, list) or not all(
        isinstance(url, str) and QUEUE_NAME.fullmatch(name := queue_name(url)) and name.startswith(prefix)
        for url in urls
    ):
        raise Unavailable("ListQueues answered something that is no list of these queues")
    return urls


def error_code(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the code that boto3 would show: the one of SQS's older protocol where the header tells it."""
    older = headers.get("x-amzn-query-error", "").split(";")
    named = str((_json_object(body) or {}).get("__type", ""))
    code = older[0] if len(older) == 2 and older[0] else named.partition(":")[0].rpartition("#")[2]
    return code if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", code) else ""


def fault_of(status: int, code: str, operation: str) -> Fault:
    """Return the fault that an answer other than HTTP 200 stands for."""
    said = f"SQS answered {operation} with {code or 'no error code; is the endpoint SQS?'} (HTTP {status})"
    if code in _THROTTLED or status == 429:
        return Throttled(said)
    if code in _TRANSIENT or not 400 <= status < 500:
        return Unavailable(said)
    for codes, hint in _HINTS:
        if code in codes:
            return Refused(f"{said}: {hint.format(operation=operation)}")
    return Refused(said)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
