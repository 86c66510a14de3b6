"""Quotes the error text of a server: printable, short, and without the secrets of the request."""

import html
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from urllib.parse import unquote, unquote_plus

from pydantic_core import from_json

MAX_QUOTED = 200
MAX_LOOKED_AT = 4096
"""Characters of an answer that are searched for a reason."""
SHORTEST_SECRET = 4
"""Shorter secrets are not masked, because they occur in any text."""
SHORTEST_PART = 8
"""So many characters from within a secret count as a part of it; at its beginning, `SHORTEST_SECRET` do."""
MASK = "***"
_REASONS = ("error", "message", "msg", "detail", "reason")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " "}


def secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in `headers` of a request: the credentials in `Authorization`, and their password."""
    scheme, _, secret = headers.get("Authorization", "").partition(" ")
    found = [secret] if secret else []
    if scheme == "Basic":
        with suppress(ValueError):  # a form that the scaler does not send
            found.append(b64decode(secret).decode().partition(":")[2])
    return tuple(found)


def quoted(body: bytes, secrets: Iterable[str]) -> str:
    """Return the reason in an error page or JSON error as one line, "" if there is none."""
    text = _reason(body)
    # Some servers quote the request, escaped in some way. All ways of escaping are undone, and after each step the
    # secrets are masked.
    spelled = {form for secret in secrets for form in _spellings(secret) if len(form) >= SHORTEST_SECRET}
    for undo in (None, _unescaped, html.unescape, unquote, _unescaped, html.unescape, unquote_plus):
        text = _masked(undo(text) if undo else text, spelled)
    text = re.sub(r"(?:\*\*\*)+", MASK, text)  # adjacent masks become one
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"


def without_secrets(body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return `body` without the credentials in the request's `headers`, plain and JSON-escaped."""
    for secret in secrets_of(headers):
        for form in (secret, _in_json(secret)):
            if len(form) >= SHORTEST_SECRET:
                body = body.replace(form.encode(), MASK.encode())
    return body


def _reason(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        answer = from_json(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        found = next((answer[key] for key in _REASONS if answer.get(key)), "")
        nested = found.get("message", "") if isinstance(found, dict) else found
        return nested[:MAX_LOOKED_AT] if isinstance(nested, str) else ""
    text = text[:MAX_LOOKED_AT]
    if "<" in text:
        # One without an end takes the rest, as in a browser; or each of many would look for its end again.
        text = re.sub(r"(?is)<(script|style|head)\b(?:.*?</\1\s*>|.*)", " ", text)
        text = re.sub(r"(?s)<!--(?:.*?-->|.*)|<[^<>]*>", " ", text)
    return text


def _spellings(secret: str) -> set[str]:
    return {secret, _unescaped(secret), html.unescape(secret), unquote(secret), unquote_plus(secret)}


def _in_json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unescaped(text: str) -> str:
    r"""Undo backslash escapes: `\"`, `\\`, `\n`, `\u0022`, `\x22`."""

    def undone(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        return chr(int(code, 16)) if code else _ESCAPES.get(found[3], found[3])

    return re.sub(r"(?s)\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", undone, text)


def _masked(text: str, secrets: Iterable[str]) -> str:
    """Mask every part of `secrets` in `text`, also if its beginning or end is missing."""
    for secret in sorted(secrets, key=len, reverse=True):
        parts = {secret[at : at + SHORTEST_PART] for at in range(max(1, len(secret) - SHORTEST_PART + 1))}
        begins = re.compile("|".join(map(re.escape, (secret[:SHORTEST_SECRET], *sorted(parts)))))
        out, position = [], 0
        while (found := begins.search(text, position)) is not None:  # a server may answer long texts to many requests
            out += [text[position : found.start()], MASK]
            position = found.start() + _common(text, found, secret)
        text = "".join((*out, text[position:]))
    return text


def _common(text: str, found: re.Match[str], secret: str) -> int:
    """Return how many characters of `text` from `found` on are a part of `secret` to mask."""
    position, part = found.start(), found[0]
    at = 0 if text.startswith(secret[:SHORTEST_SECRET], position) else secret.index(part)
    length = 0
    while at + length < len(secret) and text[position + length : position + length + 1] == secret[at + length]:
        length += 1
    return length
