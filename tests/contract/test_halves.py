"""Half an answer: one part of it missing, null or refused, each in turn, is a fault wherever that part counts."""

import json
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from scaler.clients.http.reader import HttpReader
from scaler.clients.pages.prometheus import PrometheusReader
from scaler.clients.redis.resp import RedisError
from scaler.core.domain import Found, Place
from scaler.core.errors import Fault
from scaler.sources import SOURCES
from scaler.sources.base import Trigger
from scaler.sources.redis_places import Answers
from scaler.sources.redis_reader import RedisReader
from scaler.sources.triggers import parse
from tests.contract.conftest import NOW
from tests.contract.test_trouble import assert_true, backend_of, read, truth_of

MOST_PARTS = 200
REFUSED = RedisError("NOPERM User default has no permissions to run this command")
Change = Callable[[Any], Any]
Outcomes = dict[Place, Found | Fault]


class Parts:
    """Changes one part of the answers that readers get; a part is the answer to a command, or a value in JSON."""

    def __init__(self) -> None:
        self.seen = 0
        self._chosen, self._change = -1, lambda value: value

    def turn(self, chosen: int, change: Change) -> None:
        """Change part number `chosen` of the next read."""
        self.seen, self._chosen, self._change = 0, chosen, change

    def of_list(self, answers: Iterable[Any]) -> list[Any]:
        return [self._changed(answer) for answer in answers]

    def of_json(self, body: bytes) -> bytes:
        whole = json.loads(body)
        for holder, key in list(_values(whole)):
            holder[key] = self._changed(holder[key])
            if holder[key] is REFUSED:
                del holder[key]
        return json.dumps(whole).encode()

    def _changed(self, value: Any) -> Any:
        self.seen += 1
        return self._change(deepcopy(value)) if self.seen - 1 == self._chosen else value


def _values(whole: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a value in JSON, the inner ones first."""
    if isinstance(whole, dict | list):
        for key in list(whole) if isinstance(whole, dict) else range(len(whole) - 1, -1, -1):
            yield from _values(whole[key])
            yield whole, key


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    made, add, found = Parts(), Answers.add, HttpReader.found
    monkeypatch.setattr(Answers, "add", lambda self, commands, answers: add(self, commands, made.of_list(answers)))
    monkeypatch.setattr(
        HttpReader,
        "found",
        lambda self, place, body, answer, request: found(self, place, made.of_json(body), answer, request),
    )
    return made


def one_more(value: Any) -> Any:
    return value + 1 if isinstance(value, int) and not isinstance(value, bool) else value


def always(value: Any) -> Change:
    return lambda _: value


def told(trigger: Trigger, outcomes: Outcomes) -> Any:
    """Return what KEDA would get; None for a fault."""
    values = {place: found.value for place, found in outcomes.items() if isinstance(found, Found)}
    try:
        assessment = trigger.assess(values, NOW) if len(values) == len(outcomes) else None
    except Fault:
        return None
    return assessment and (assessment.metrics, assessment.active)


SHARED = [
    name
    for name, source in SOURCES.items()
    if any(issubclass(each, RedisReader | HttpReader) and each is not PrometheusReader for each in source.readers)
]
"""Sources whose answers come in parts through a reader that all share; a stage has no Prometheus."""


@pytest.mark.parametrize("source", SHARED)
async def test_half_an_answer_is_no_value(source: str, parts: Parts) -> None:
    async with backend_of(source).stage() as stage:
        trigger = parse({"source": source, **stage.metadata}, "shop")
        readers = [stage.backends.hand(reader) for reader in SOURCES[source].readers]
        truth = await truth_of(readers, trigger)

        async def read_with(number: int, change: Change) -> Outcomes:
            parts.turn(number, change)
            return await read(readers, trigger)

        whole = told(trigger, await read_with(0, lambda value: value))
        assert whole
        assert 0 < parts.seen <= MOST_PARTS
        for number in range(parts.seen):
            counts = told(trigger, await read_with(number, one_more)) not in {None, whole}
            for instead in (REFUSED, None):
                outcomes = await read_with(number, always(instead))
                assert_true(trigger, truth, outcomes)
                assert not counts or told(trigger, outcomes) is None, f"part {number} counts, and {instead} is no fault"
        for reader in readers:
            await reader.close()
