import html
import json
from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scaler.clients.http.quoting import MAX_QUOTED, quoted, secrets_of, without_secrets

SECRETS = [
    "canary-password",
    'ca"na\\ry\\"word',
    "caf\u00e9-canary",
    "can%41ry+word&more",
    "ca<na>ry&amp;'word'",
    "c4n4",
    "eyJhbGciOi.J.canary_-=",
]
"""With everything that some spelling changes."""


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"user:{password}".encode()).decode()}


def spellings(text: str) -> dict[str, bytes]:
    """Return how servers quote `text`."""
    in_json = json.dumps(text)
    return {
        "as it is": f"bad login {text}!".encode(),
        "JSON": json.dumps({"status": "error", "error": f"bad login {text}"}).encode(),
        "JSON, nested": json.dumps({"error": {"message": f"bad login {text}"}}).encode(),
        "JSON in text": f"bad login {in_json} for you".encode(),
        "JSON in JSON": json.dumps({"message": f"bad login {in_json}"}).encode(),
        "HTML": f"<html><head><title>x</title></head><p>bad login <b>{html.escape(text)}</b></p></html>".encode(),
        "percent": f"bad login ?password={quote(text, safe='')}".encode(),
        "form": f"bad login ?password={quote_plus(text)}".encode(),
        "unicode escapes": f"bad login {text.encode('unicode-escape').decode()}".encode(),
    }


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("how", spellings(""))
def test_no_spelling_of_a_secret_is_quoted(secret: str, how: str) -> None:
    said = quoted(spellings(secret)[how], secrets_of(basic(secret)))
    assert "***" in said
    assert secret not in said
    assert secret[1:-1] not in said


@pytest.mark.parametrize("secret", [secret for secret in SECRETS if len(secret) > 8])
def test_nor_is_a_part_that_is_long_enough(secret: str) -> None:
    for cut in range(4, len(secret)):
        assert secret[:cut] not in quoted(f"bad login {secret[:cut]}...".encode(), [secret])
    for cut in range(len(secret) - 8 + 1):
        assert secret[cut:] not in quoted(f"bad login ...{secret[cut:]}".encode(), [secret])


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=8, max_size=40),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_whatever_the_secret_is(secret: str, before: str, after: str) -> None:
    assume(set(secret) != {"*"})
    assert secret not in quoted(f"{before} {secret} {after}".encode("utf-8", "replace"), [secret])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no org id\n", "no org id"),
        (b'{"status":"error","errorType":"bad_data","error":"parse error"}', "parse error"),
        (b'{"code":401,"message":"Unauthorized"}', "Unauthorized"),
        (b'{"other": 1}', ""),
        (b"[1]", "[1]"),
        (b"", ""),
        (
            b"<html><head><title>502</title><style>p {}</style></head><body><h1>Bad\nGateway</h1></body></html>",
            "Bad Gateway",
        ),
        (b"<script>x</script><!-- y --> z", "z"),
        (b"a\x00\x1b[31mb\n\n  c\xff", "a [31mb c\N{REPLACEMENT CHARACTER}"),
        (b"x" * 500, "x" * MAX_QUOTED + "\N{HORIZONTAL ELLIPSIS}"),
        (b"[" * 100_000, "[" * MAX_QUOTED + "\N{HORIZONTAL ELLIPSIS}"),
        (b"<script" * 9_000, ""),
        (b"no <!-- " * 9_000, "no"),
    ],
)
def test_the_reason_is_found_and_put_on_a_line(body: bytes, said: str) -> None:
    assert quoted(body, ()) == said


def test_the_secrets_of_a_request() -> None:
    assert secrets_of({}) == ()
    assert secrets_of({"Authorization": "Bearer canary"}) == ("canary",)
    assert secrets_of(basic("canary"))[1] == "canary"
    assert secrets_of({"Authorization": "Basic x"}) == ("x",)


def test_a_body_that_is_kept_as_it_is_loses_them_too() -> None:
    told = json.dumps({"message": 'no such login ca"na\\ry'}).encode()
    assert without_secrets(told, basic('ca"na\\ry')) == b'{"message": "no such login ***"}'
