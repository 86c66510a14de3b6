import copy
import pickle
from typing import Any

import pytest

from scaler.clients.kubernetes.faults import (
    BusyError,
    DeniedError,
    ExpiredError,
    NotFoundError,
    error_event,
    message_of,
    refusal,
)
from scaler.clients.kubernetes.json_stream import BadAnswerError
from scaler.core.errors import Fault, Refused, ScalerError, Throttled, Unavailable
from scaler.demo.kubernetes_paths import Refusal


@pytest.mark.parametrize(
    ("status", "message", "kind", "base", "advice"),
    [
        (400, "bad selector", Refused, Refused, "bad selector"),
        (401, "", DeniedError, Refused, "check the token"),
        (403, "User x cannot list", DeniedError, Refused, "grant the RBAC verbs list and watch"),
        (404, "", NotFoundError, Refused, "not found"),
        (410, "too old", ExpiredError, Unavailable, "expired"),
        (504, "Too large resource version: 9, current: 1", ExpiredError, Unavailable, "expired"),
        (429, "", BusyError, Throttled, "too many requests"),
        (302, "", Unavailable, Unavailable, "failed (302)"),
        (500, "etcd", Unavailable, Unavailable, "failed (500): etcd"),
        (504, "", Unavailable, Unavailable, "failed (504)"),
    ],
)
def test_status(status: int, message: str, kind: type[Fault], base: type[Fault], advice: str) -> None:
    fault = refusal(status, {}, message, "API x: list pods")

    assert type(fault) is kind
    assert isinstance(fault, base)
    assert str(fault).startswith("API x: list pods: ")
    assert advice in str(fault)
    assert message in str(fault)


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("7", 7.0), ("86400", 60.0), ("soon", 1.0), ("-1", 1.0), (None, 1.0)],
)
def test_pause_that_the_api_asks_for(asked: str | None, pause: float) -> None:
    fault = refusal(429, {} if asked is None else {"Retry-After": asked}, "", "x")

    assert isinstance(fault, BusyError)
    assert fault.pause_seconds == pause


def test_event_that_tells_an_error() -> None:
    assert isinstance(error_event({"code": 410, "message": "too old"}, "x"), ExpiredError)
    assert type(error_event({"message": ["?"]}, "x")) is Unavailable


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"kind":"Status","message":"no\\n  good"}', "no good"),
        (b'{"message":"' + b"x" * 1000 + b'"}', "x" * 300),
        (b'{"message":7}', ""),
        (
            b"Client sent an HTTP request to an HTTPS server.\n",
            "this port speaks https; write https:// for http:// in its address",
        ),
        (b"<html>", ""),
        (b"", ""),
    ],
)
def test_message_of_a_status(body: bytes, message: str) -> None:
    assert message_of(body) == message


def subclasses(base: type[Any]) -> set[type[Any]]:
    return {base}.union(*(subclasses(each) for each in base.__subclasses__()))


ERRORS = sorted(
    (
        each
        for each in subclasses(ScalerError) | {Refusal, BadAnswerError}
        if each.__module__.startswith(("scaler.clients.kubernetes", "scaler.clients.aws", "scaler.demo.kubernetes"))
    ),
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_can_be_copied(kind: type[Exception]) -> None:
    made = kind(404, "NotFound", "why") if kind is Refusal else kind("why")  # type: ignore[call-arg]
    for copied in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), type(made)(*made.args)):
        assert (type(copied), str(copied), copied.__dict__) == (kind, str(made), made.__dict__)


def test_a_copy_keeps_the_pause() -> None:
    copied = type(fault := BusyError("busy", 20.0))(*fault.args)
    assert (str(copied), copied.pause_seconds) == ("busy", 20.0)
    assert BusyError in ERRORS
