"""The hints for keys of KEDA's own scalers: what they say to write is a key of the very source that was asked."""

import re

import pytest

from scaler.sources.foreign_keys import HINTS
from scaler.sources.triggers import FROM_ENV, KEDA_KEYS, SOURCES, keys_of

KEYS = {name: set(keys_of(source.trigger)) for name, source in SOURCES.items()}


@pytest.mark.parametrize("source", KEYS)
def test_what_is_to_be_written_is_a_key_of_that_source(source: str) -> None:
    others = set.union(*KEYS.values()) - KEYS[source] - KEDA_KEYS
    wrong = {}
    for key, text in HINTS[source].items():
        words = {word.removesuffix(FROM_ENV) for word in re.findall(r"[A-Za-z]+", text)}
        if advised := {word for word in words & others if re.search(rf"(write|or|and) {word}\b", text)}:
            wrong[key] = advised
    assert wrong == {}
