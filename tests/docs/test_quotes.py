"""The messages that pages quote, so that somebody finds them there, are still written so in the program or the chart."""

import re

import pytest

from tests.docs.said import Said, chart_texts, messages, page_texts

OTHERS = {  # of KEDA, Go, helm, Kubernetes
    "certificate is valid for …, not …",
    "certificate signed by unknown authority",
    "connection closed before server preface",
    "first record does not look like a TLS handshake",
    'no matches for kind "ServiceMonitor"',
    "unable to validate against any security context constraint",
    "values don't meet the specifications of the schema(s)",
}
COMMANDS = r"(?:scaler|kubectl|helm|pytest|python) "
FILLED = r"…|'[^']*'|\S*[\d_=]\S*|, "
"""What stands for a value: left out, quoted, or with a digit, `_` or `=`; and where two texts may meet."""
TEXTS = [" ".join(said.text.split()) for said in (*messages(), *chart_texts())]


def quotes() -> list[tuple[Said, str]]:
    """Return the code of four words or more on the pages that tell of messages."""
    return [
        (said, quote)
        for said in page_texts()
        if said.file in {"docs/troubleshooting.md", "docs/workqueue.md"}
        for quote in re.findall(r"`([^`]+)`", said.text)
        if len(quote.split()) >= 4 and not re.match(COMMANDS, quote) and quote not in OTHERS
    ]


@pytest.mark.parametrize(
    ("said", "quote"), [pytest.param(said, quote, id=f"{said.where}: {quote[:50]}") for said, quote in quotes()]
)
def test_a_message_that_is_quoted_is_still_told(said: Said, quote: str) -> None:
    parts = [part for part in (each.strip() for each in re.split(FILLED, quote)) if len(part.split()) > 1]
    assert parts, said.where
    for part in parts:
        assert any(part in text for text in TEXTS), f"{said.where}: no text has {part!r}"


def test_there_are_quotes() -> None:
    assert len(quotes()) > 10
