"""What every test of the contract asks: the examples of each source's metadata, offline."""

import importlib.util
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scaler.core.domain import Readings
from scaler.core.errors import MetadataError
from scaler.sources import SOURCES
from scaler.sources.base import Trigger
from scaler.sources.triggers import parse

HERE = Path(__file__).parent
SECRET = "hunter2"
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Example:
    source: str
    name: str
    metadata: dict[str, str]
    module: ModuleType

    def __str__(self) -> str:
        return f"{self.source}: {self.name}"

    @property
    def trigger(self) -> Trigger:
        return parse(self.metadata, "shop")

    def readings(self, amount: int) -> Readings:
        """Return what is found at every place of the trigger when there is `amount` of everything."""
        trigger = self.trigger
        if hasattr(self.module, "readings"):
            made: Readings = self.module.readings(trigger, min(amount, 50), NOW)
            return made
        return trigger.imagined(dict.fromkeys(trigger.counts, amount), min(amount, 10), NOW)


def load(source: str) -> Iterator[Example]:
    spec = importlib.util.spec_from_file_location(f"examples_{source}", HERE / "examples" / f"{source}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, metadata in module.EXAMPLES.items():
        yield Example(source, name, {"source": source, **metadata}, module)


EXAMPLES = [example for source in SOURCES for example in load(source)]
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=str)
each_source = pytest.mark.parametrize("source", list(SOURCES))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing and judging are pure: who opens a socket there is found out."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def refusal(metadata: dict[str, str]) -> str:
    with pytest.raises(MetadataError) as caught:
        parse(metadata, "shop")
    return str(caught.value)
