"""What every source promises of its metadata's keys."""

import math
import re

import pytest

from scaler.sources import SOURCES
from scaler.sources.base import Trigger
from scaler.sources.triggers import check, keys_of, parse
from tests.contract.conftest import EXAMPLES, HERE, SECRET, Example, each_example, each_source, refusal

pytestmark = pytest.mark.usefixtures("offline")


DOCUMENTED = (HERE.parents[1] / "docs" / "metadata.md").read_text()


# Keys


@each_source
def test_every_key_is_in_an_example_and_in_the_reference(source: str) -> None:
    keys = keys_of(SOURCES[source].trigger)
    common = keys_of(Trigger).keys()
    used = {key for example in EXAMPLES if example.source == source for key in example.metadata}
    assert set(keys) - common == used - common
    section = DOCUMENTED.partition(f"\n## `{source}`\n")[2].partition("\n## ")[0]
    for key, field in keys.items():
        assert field.description, key
        assert f"| `{key}` |" in (DOCUMENTED if key in common else section)
        assert re.fullmatch("[a-z][A-Za-z]*", key), "camelCase"
        assert not key.endswith("FromEnv")


@each_source
def test_a_misspelt_key_is_told_with_the_nearest(source: str) -> None:
    example = next(example for example in EXAMPLES if example.source == source)
    keys = keys_of(SOURCES[source].trigger)
    for key in keys:
        for wrong in {f"{key}x", key.swapcase(), f"{key[:3]}{key[4:]}"} - keys.keys():
            if not re.search(r"^(source|sourcex)$", wrong, re.IGNORECASE):
                assert f"{wrong}: unknown key for source {source}; did you mean " in refusal(
                    {**example.metadata, wrong: "1"}
                )
        assert f"did you mean {key}?" in refusal({**example.metadata, f"{key}x": "1"})


@each_example
def test_a_blank_key_counts_as_absent(example: Example) -> None:
    blank = dict.fromkeys(keys_of(SOURCES[example.source].trigger), " ")
    assert parse({**blank, **example.metadata}, "shop") == example.trigger


@each_example
def test_every_key_may_come_from_the_environment_but_not_both_ways(example: Example) -> None:
    from_env = {f"{key}FromEnv": value for key, value in example.metadata.items()}
    assert parse(from_env, "shop") == example.trigger
    for key, value in example.metadata.items():
        assert f"{key}: given both as {key} and as {key}FromEnv" in refusal(
            {**example.metadata, f"{key}FromEnv": value}
        )


@each_source
def test_no_message_shows_what_came_from_the_environment(source: str) -> None:
    for example in EXAMPLES:
        if example.source == source:
            for key in keys_of(SOURCES[source].trigger).keys() - {"source"}:
                metadata = {name: value for name, value in example.metadata.items() if name != key}
                _, problems = check({**metadata, f"{key}FromEnv": f"\x00,{SECRET}\N{SNOWMAN} ,"}, "shop")
                assert SECRET not in "".join(map(str, problems))


@each_example
def test_odd_values_are_refused_and_never_crash(example: Example) -> None:
    for key in keys_of(SOURCES[example.source].trigger):
        for value in (
            "\x00",
            "\N{SNOWMAN}" * 3_000,
            "-1",
            "1e999",
            "nan",
            "true",
            "://",
            "http://[",
            ",",
            "(" * 500,
            "9" * 30,
        ):
            trigger, problems = check({**example.metadata, key: value}, "shop")
            assert (trigger is None) == bool(problems)
            assert all(problem.key and problem.text for problem in problems)
            if trigger is not None:
                assert all(spec.target > 0 and math.isfinite(spec.target) for spec in trigger.specs())
                assert all(str(place) for place in trigger.places())
