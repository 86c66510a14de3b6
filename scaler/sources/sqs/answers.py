"""Parses answers of SQS: counts, listings, errors. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
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
POLICY = "RedrivePolicy"
"""Missing in an answer if the queue has none, so an attribute that every queue has is always asked for with it."""
NO_QUEUE = frozenset(("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"))
SKEWED = frozenset(("RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"))
"""Error codes for a signature with a wrong time, or a wrong signature."""
# botocore has no public lists
_THROTTLED = frozenset(ThrottledRetryableChecker._THROTTLED_ERROR_CODES)  # type: ignore[attr-defined]  # noqa: SLF001
_TRANSIENT = frozenset(TransientRetryableChecker._TRANSIENT_ERROR_CODES)  # type: ignore[attr-defined]  # noqa: SLF001

MAX_MESSAGE = 300
MAX_BRACKETS, MAX_QUOTES = 100, 4_000
"""Of an answer: SQS's own has two or three opening brackets, a policy or a message a few more; a page of 1,000 queues 2,000
quotation marks. 45,000 keys took 20 ms to decode."""
_DENIED = frozenset(("AccessDenied", "AccessDeniedException"))
"""Errors whose text is quoted. That of a refused signature is not, because it contains what was signed."""
_HINTS = (
    (
        NO_QUEUE,
        "this account has no such queue in this region; check queueURL and awsRegion",
    ),
    ({"InvalidAddress"}, "the queue is not at this endpoint; check queueURL, awsRegion and awsEndpoint"),
    (_DENIED, "allow sqs:{operation} on {where} to the identity that reads"),
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
    """Return the three counts; raises `Unavailable` if one is missing or not a count."""
    return Counts(**{field: int(_attribute(answer, name, "[0-9]{1,19}")) for field, name in ATTRIBUTES.items()})


def parse_dead_letter(answer: Mapping[str, Any]) -> str:
    """Return the name of the dead-letter queue, "" without one; raises `Unavailable` for an incomplete answer."""
    _attribute(answer, ATTRIBUTES["visible"], "[0-9]{1,19}")
    text = answer["Attributes"].get(POLICY)
    if text is None or text == "":
        return ""
    policy = _json_object(text.encode()) if isinstance(text, str) else None
    arn = _ARN.fullmatch(str((policy or {}).get("deadLetterTargetArn")))
    if arn is None:
        raise Unavailable(f"GetQueueAttributes answered with a {POLICY} that names no queue")
    return arn["name"]


def parse_identity(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return account and name of a queue from its `QueueArn`; raises `Unavailable`."""
    arn = _ARN.fullmatch(_attribute(answer, "QueueArn", ".*"))
    if arn is None:
        raise Unavailable("GetQueueAttributes answered with a QueueArn that names no queue")
    return arn["account"], arn["name"]


_ARN = re.compile(rf"arn:[^:]*:sqs:[^:]*:(?P<account>[^:]*):(?P<name>{QUEUE_NAME.pattern})")


def _attribute(answer: Mapping[str, Any], name: str, pattern: str) -> str:
    attributes = answer.get("Attributes")
    text = attributes.get(name) if isinstance(attributes, dict) else None
    if not isinstance(text, str) or not re.fullmatch(pattern, text):
        raise Unavailable(f"GetQueueAttributes answered without a usable {name}")
    return text


@lru_cache(maxsize=4)
def counts_of(body: bytes) -> Counts:
    """Return the three counts of a good answer; cached, because idle queues all answer with the same bytes.

    Raises `Unavailable` as `parse_body` and `parse_counts` do.
    """
    return parse_counts(parse_body(body))


def parse_listing(answer: Mapping[str, Any], prefix: str) -> list[str]:
    """Return the URLs of ListQueues, which omits the field if there are none; raises `Unavailable` if malformed."""
    urls = answer.get("QueueUrls", [])
    if not isinstance(urls, list) or not all(
        isinstance(url, str) and QUEUE_NAME.fullmatch(name := queue_name(url)) and name.startswith(prefix)
        for url in urls
    ):
        raise Unavailable("ListQueues answered something that is no list of these queues")
    return urls


def error_code(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the error code that boto3 would show: that of SQS's older protocol, if the header has it."""
    older = headers.get("x-amzn-query-error", "").split(";")
    named = str((_json_object(body) or {}).get("__type", ""))
    code = older[0] if len(older) == 2 and older[0] else named.partition(":")[0].rpartition("#")[2]
    return code if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", code) else ""


def error_message(body: bytes, secrets: Iterable[str]) -> str:
    """Return the text of an error, short and printable, without `secrets` and anything that looks like one.

    In it AWS says who may not do what, and because of which policy. A text that repeats the request (its signature, its
    headers) is left out completely.
    """
    document = _json_object(body) or {}
    text = document.get("message") or document.get("Message")
    if not isinstance(text, str) or re.search(
        r"authorization\W|signature|security-token|credential=", text, re.IGNORECASE
    ):
        return ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    text = re.sub(r"[A-Za-z0-9+/=%]{33,}", "***", text)  # tokens and signatures; an ARN has colons and dashes
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def fault_of(status: int, code: str, operation: str, message: str = "") -> Fault:
    """Return the fault for an answer other than HTTP 200; `message` must come from `error_message`."""
    said = f"SQS answered {operation} with {code or 'no error code; is the endpoint SQS?'} (HTTP {status})"
    if code in _THROTTLED or status == 429:
        return Throttled(said)
    if code in _TRANSIENT or not 400 <= status < 500:
        return Unavailable(said)
    where = "*" if operation == "ListQueues" else "the queue"  # a list is of no single queue
    hint = next((hint.format(operation=operation, where=where) for codes, hint in _HINTS if code in codes), "")
    quote = f'it says "{message}"' if message and code and (not hint or code in _DENIED) else ""
    return Refused(": ".join(filter(None, (said, "; ".join(filter(None, (hint, quote)))))))


def _json_object(body: bytes) -> dict[str, Any] | None:
    # Before it is decoded, which would take too long.
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS or body.count(b'"') > MAX_QUOTES:
        return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
