"""What anyone may send or write: the metadata, the configuration and the access rules take everything, or say why not.

The readers of Redis, pages, Prometheus, SQS and the Kubernetes API have fuzz tests of their own beside their tests.
"""

import string
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scaler.core.errors import MetadataError, NotAllowedError, SettingsError
from scaler.settings import Settings, load
from scaler.sources import SOURCES
from scaler.sources.access import Access, AccessRule
from scaler.sources.base import Claim
from scaler.sources.triggers import keys_of, parse

KEYS = sorted({key for source in SOURCES.values() for key in keys_of(source.trigger)})
NASTY = st.sampled_from(
    [
        "", " ", "0", "-1", "1e999", "nan", "inf", "0x10", "1_000", "true", "TRUE", "١٢", "9" * 400, "a" * 5_000, "," * 300,
        "http://", "http://[::1", "http://a:99999/", "redis://a:b:c", "redis+sentinel://,/m", "arn:aws:iam::1:role/x",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "(a+)+$" * 20, '{a="' * 50, "\x00", "\ud7ff", "%00%ff", "*", "../..",
    ]
)  # fmt: skip
VALUES = NASTY | st.text(max_size=60) | st.text(string.printable, max_size=60) | st.integers().map(str)
KEY = st.sampled_from([*KEYS, *(f"{key}FromEnv" for key in KEYS)]) | st.text(max_size=12)


@pytest.mark.slow
@settings(max_examples=600, deadline=1_000, suppress_health_check=[HealthCheck.too_slow])
@given(
    source=st.sampled_from([*SOURCES]) | VALUES,
    metadata=st.dictionaries(KEY, VALUES, max_size=8),
    namespace=st.text(max_size=20),
)
@example(source="workqueue", metadata={"queues": "a", "metricsURL": "http://h/", "selector": '{a="b"'}, namespace="x")
def test_metadata_is_taken_or_refused(source: str, metadata: Mapping[str, str], namespace: str) -> None:
    trigger, said = None, ""
    try:
        trigger = parse({**metadata, "source": source}, namespace)
    except MetadataError as error:
        said = str(error)
    assert (trigger is None) == bool(said)
    assert said.isprintable()
    if trigger is None:
        return
    specs, places = trigger.specs(), trigger.places()
    assert specs
    assert all(spec.target > 0 for spec in specs)
    assert len(places) <= 2_000
    assert hash((trigger, *places))
    assert trigger.claims() is not None
    assert str(places)


@pytest.mark.parametrize("key", KEYS)
def test_a_huge_value_takes_no_time(key: str) -> None:
    for name in SOURCES:  # what is made at the first use is not what is measured
        with suppress(MetadataError):
            parse({"source": name, key: "x"}, "shop")
    for value in (
        "a" * 60_000,
        "a," * 30_000,
        "((((" * 15_000,
        "http://" + "a." * 29_000,
        "9" * 60_000,
        "https://" + "é" * 29_000,
        " " * 60_000 + "x",
        "http://" * 8_500,  # each may be the beginning of a URL with a password
        "a in (" + ", " * 30_000 + "!",  # blanks that two parts of a pattern could share
        "a=" + " " * 60_000 + "!",
        "1h" * 30_000 + "!",
    ):
        for name in SOURCES:
            began, said = time.process_time(), ""
            try:
                parse({"source": name, key: value}, "shop")
            except MetadataError as error:
                said = str(error)
            assert len(said) < 4_000
            assert time.process_time() - began < 0.2


def test_many_unknown_keys_are_told_in_a_line() -> None:
    with pytest.raises(MetadataError) as raised:
        parse({"source": "sqs", **{f"queueUR{number}": "x" for number in range(5_000)}}, "shop")
    said = str(raised.value)
    assert said.count("did you mean queueURL?") == 10
    assert said.endswith("queueUR10: unknown, too, as 5000 keys are in all")


def sections() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | VALUES
    keys = st.sampled_from(sorted(Settings.model_fields)) | st.sampled_from(["url", "arn", "namespaces", "certFile"])
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=8), inner, max_size=4),
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=1_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.dictionaries(
        st.sampled_from(sorted(Settings.model_fields)) | st.text(max_size=8), sections(), max_size=4
    )
)
def test_a_configuration_is_taken_or_refused(content: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    _load(file)


@settings(max_examples=150, deadline=1_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | st.text("{}[]:-&*!|>'\"#%@,? \n\tab1", max_size=80).map(str.encode))
@example(content=b"a: &a [*a]\nlisten: *a")
@example(content=b"? {}\n: x")
@example(content=b"!!python/object/apply:os.system [true]")
@example(content=b"&a [&b [&c [x,x,x],*c,*c],*b,*b]: 1")
@example(content=b"listen: 2026-99-99")
@example(content=b"a: " + b"[" * 400)
def test_any_file_is_a_configuration_or_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(content)
    _load(file)


def _load(file: Path) -> None:
    loaded, said = None, ""
    try:
        loaded = load(file)
    except SettingsError as error:
        said = str(error)
    assert loaded is not None or said.startswith(str(file))


@settings(max_examples=400, deadline=1_000)
@given(
    namespace=st.text("ab-", max_size=5) | VALUES,
    value=VALUES,
    globs=st.lists(st.text("ab*?[]!-/:.", max_size=12) | VALUES, max_size=4),
)
@example(namespace="a", value="a" * 3_000, globs=["*a" * 30 + "b"])
def test_access_rules_judge_everything(namespace: str, value: str, globs: list[str]) -> None:
    rule = AccessRule.model_validate({"namespaces": globs or ["x"], "urls": globs})
    granted = True
    try:
        Access([rule]).check(namespace, [Claim("url", value)])
    except NotAllowedError:
        granted = False
    if not globs:
        assert not granted
    if "*" in globs:
        assert granted
