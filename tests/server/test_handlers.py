"""KEDA's five RPCs over a real socket: values, status codes and messages."""

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.core.clock import SystemClock
from scaler.core.domain import Assessment
from scaler.core.errors import Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, ScriptedTrigger, Work
from tests.server.conftest import Code, Serve, failure, round_trip

UNARY = ("get_metric_spec", "get_metrics", "is_active")


def samples(keda: Any, name: str) -> dict[tuple[str, ...], float]:
    """Return what the server counts under `name`, by the values of the labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in keda.server.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


# Values


async def test_specs_values_and_activity_arrive(serve: Serve, reader: ScriptedReader) -> None:
    reader.answers |= {"a": Work(7.5), "b": Work(1)}
    async with serve() as keda:
        ref = keda.ref("a,b", target="0.5", second="4")
        specs = (await keda.get_metric_spec(ref)).metricSpecs
        assert [(spec.metricName, spec.targetSize, spec.targetSizeFloat) for spec in specs] == [
            ("scripted", 1, 0.5),
            ("scripted-second", 4, 4.0),
        ]
        answer = await keda.get_metrics(ref)
        assert [(found.metricName, found.metricValue, found.metricValueFloat) for found in answer.metricValues] == [
            ("scripted", 9, 8.5)
        ]
        assert await keda.value(ref, "Scripted-SECOND") == 7.5
        assert (await keda.is_active(ref)).result is True


async def test_nothing_to_do_is_zero_in_both_fields_and_inactive(serve: Serve) -> None:
    async with serve() as keda:
        (found,) = (await keda.get_metrics(keda.ref())).metricValues
        assert (found.metricValue, found.metricValueFloat) == (0, 0.0)
        assert (await keda.is_active(keda.ref())).result is False


@pytest.mark.parametrize("count", [2**53 + 1, 2**63 - 1, 10**15])
async def test_counts_beyond_what_the_hpa_can_read_are_capped(serve: Serve, reader: ScriptedReader, count: int) -> None:
    reader.answers["a"] = Work(count)
    async with serve() as keda:
        (found,) = (await keda.get_metrics(keda.ref())).metricValues
        assert (found.metricValue, found.metricValueFloat) == (10**12, 1e12)


async def test_two_hundred_triggers_on_one_place_cause_one_read(serve: Serve, reader: ScriptedReader) -> None:
    async with serve() as keda:
        refs = [keda.ref(target=str(number)) for number in range(1, 201)]
        answers = await asyncio.gather(*(keda.get_metrics(ref) for ref in refs))
        assert len(answers) == 200
        assert reader.count("a") == 1


async def test_a_change_is_seen_after_the_refresh_interval_and_one_second(
    serve: Serve, reader: ScriptedReader, clock: ManualClock
) -> None:
    async with serve() as keda:
        ref = keda.ref(refreshSeconds="4")
        for number in range(1, 8):
            reader.answers["a"] = Work(number)
            await clock.advance(5)
            assert await keda.value(ref) == number


# Errors

BAD_METADATA = [
    pytest.param({"spot": "a"}, ["spot: unknown key for source scripted", "did you mean spots?"], id="misspelt key"),
    pytest.param({"target": "many"}, ["target: 'many'", "a number"], id="wrong value"),
    pytest.param({"refreshSeconds": "0.01"}, ["refreshSeconds: '0.01'", "0, or 0.1 or more"], id="out of range"),
    pytest.param({"metricType": "Utilization"}, ["metricType", "'AverageValue' or 'Value'"], id="not one of"),
    pytest.param({"source": "sqz"}, ["source: 'sqz' is not a source", "sqs", "scripted"], id="unknown source"),
    pytest.param({"source": ""}, ["source: required"], id="no source"),
    pytest.param(
        {"targetFromEnv": "5", "target": "5"}, ["target: given both as target and as targetFromEnv"], id="both ways"
    ),
    pytest.param({"k" * 10_000: "x"}, ["unknown key", "(10000 characters)"], id="a long key"),
    pytest.param(
        {"target": "\N{SNOWMAN}\x00\n" * 3_000}, ["target: '\N{SNOWMAN}", "characters)"], id="a long odd value"
    ),
    pytest.param({f"key{number}": "\N{SNOWMAN}" for number in range(200)}, ["unknown key"], id="200 keys"),
]


@pytest.mark.parametrize(("metadata", "said"), BAD_METADATA)
async def test_bad_metadata_says_what_is_wrong_and_what_is_allowed(
    serve: Serve, metadata: dict[str, str], said: list[str]
) -> None:
    async with serve() as keda:
        ref = keda.ref(**metadata) if "source" not in metadata else keda.ref()
        ref.scalerMetadata.update(metadata)
        streams = (keda.stub.StreamIsActive(ref).read(), keda.stub.StreamMetricSpec(ref).read())
        for call in (*(getattr(keda, name)(ref) for name in UNARY), *streams):
            code, details = await failure(call)
            assert code == Code.INVALID_ARGUMENT
            assert all(part in details for part in said), details
            assert "\n" not in details
            assert len(details) <= 2_000
        assert len(keda.server.registry) == 0


async def test_many_long_values_are_understood(serve: Serve, reader: ScriptedReader) -> None:
    spots = [f"\N{SNOWMAN}{number}" * 5 for number in range(200)]
    reader.answers |= {name: Work(1) for name in spots}
    async with serve() as keda:
        assert await keda.value(keda.ref(",".join(spots), namespace="シ" * 60)) == 200


async def test_an_unknown_metric_is_not_found_and_the_known_are_listed(serve: Serve) -> None:
    async with serve() as keda:
        code, details = await failure(keda.get_metrics(keda.ref(second="1"), "s0-scripted"))
        assert code == Code.NOT_FOUND
        assert details == "metric 's0-scripted' is not one of this trigger; known: scripted, scripted-second"


async def test_what_no_rule_allows_is_denied(serve: Serve, reader: ScriptedReader) -> None:
    async with serve(access=[{"namespaces": ["shop"], "urls": ["scripted://a*"]}]) as keda:
        await keda.get_metrics(keda.ref("a1"))
        for ref in (keda.ref("b"), keda.ref("a1", namespace="blog"), keda.ref("a1,b")):
            for name in UNARY:
                code, details = await failure(getattr(keda, name)(ref))
                assert code == Code.PERMISSION_DENIED
                assert "may not read url scripted://" in details
                assert "access[].urls" in details
            assert (await failure(keda.stub.StreamIsActive(ref).read()))[0] == Code.PERMISSION_DENIED
        assert reader.count("b") == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Unavailable("backend: no connection"), Code.UNAVAILABLE),
        (Throttled("backend: slow down"), Code.UNAVAILABLE),
        (Refused("backend: AccessDenied"), Code.FAILED_PRECONDITION),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_fault_is_an_error_with_the_backends_own_words(
    serve: Serve, reader: ScriptedReader, clock: ManualClock, fault: Exception, code: Code
) -> None:
    reader.answers["a"] = fault
    async with serve() as keda:
        for _ in range(3):
            for name in ("get_metrics", "is_active"):
                assert await failure(getattr(keda, name)(keda.ref())) == (code, str(fault))
            await keda.get_metric_spec(keda.ref())
            await clock.advance(10)


@pytest.mark.parametrize("name", ["get_metrics", "is_active"])
async def test_a_backend_that_never_answers_is_an_error_within_the_deadline(
    serve: Serve, reader: ScriptedReader, clock: ManualClock, name: str
) -> None:
    reader.answers["a"] = HANG
    async with serve() as keda:
        call = asyncio.ensure_future(failure(getattr(keda, name)(keda.ref())))
        await reader.asked.wait()
        await clock.advance(1.8)
        await round_trip(keda)
        assert not call.done()
        await clock.advance(0.2)
        code, details = await call
        assert code == Code.UNAVAILABLE
        assert "no answer yet from scripted/one" in details


async def test_the_deadline_holds_on_the_machines_clock_too(serve: Serve, reader: ScriptedReader) -> None:
    reader.answers["a"] = HANG
    async with serve(on=SystemClock(), limits={"rpc_deadline_seconds": 0.5}) as keda:
        began = time.perf_counter()
        calls = [failure(getattr(keda, name)(keda.ref())) for name in ("get_metrics", "is_active") for _ in range(20)]
        assert {code for code, _ in await asyncio.gather(*calls)} == {Code.UNAVAILABLE}
        assert 0.3 < time.perf_counter() - began < 10  # however busy the machine is; without a deadline it never ends


@pytest.mark.parametrize(
    ("limits", "refs", "said"),
    [
        pytest.param({"max_scaled_objects": 2}, ["a", "b"], "limits.maxScaledObjects", id="scaled objects"),
        pytest.param({"max_places": 4}, ["a,b", "c"], "limits.maxPlaces", id="places"),
        pytest.param({"max_metadata_bytes": 100}, ["a" * 80], "limits.maxMetadataBytes", id="metadata"),
        pytest.param({"max_metadata_bytes": 100}, ["a" * 70_000], "", id="a message that is not even read"),
    ],
)
async def test_limits_are_named(serve: Serve, limits: dict[str, int], refs: list[str], said: str) -> None:
    async with serve(limits=limits) as keda:
        *allowed, refused = (keda.ref(spots) for spots in refs)
        for ref in allowed:
            await keda.get_metrics(ref)
        for name in ("get_metrics", "is_active"):
            code, details = await failure(getattr(keda, name)(refused))
            assert code == Code.RESOURCE_EXHAUSTED
            assert said in details


async def test_a_defect_is_an_internal_error_without_details(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Assessment:
        raise ValueError("hunter2")

    monkeypatch.setattr(ScriptedTrigger, "assess", broken)
    async with serve() as keda:
        with capture_logs() as logs:
            code, details = await failure(keda.get_metrics(keda.ref()))
            assert await failure(keda.is_active(keda.ref())) == (code, details)
        assert code == Code.INTERNAL
        assert details == "internal error of the scaler; its log says more"
        assert [(entry["event"], entry["namespace"]) for entry in logs] == [
            ("cannot judge", "shop"),
            ("answered with an error", "shop"),
        ]
        assert "hunter2" not in str(logs[1])
        await keda.get_metric_spec(keda.ref())


async def test_garbage_harms_nobody(serve: Serve) -> None:
    async with serve() as keda:
        for garbage in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x1a\x04\x0a\x02\xc3\x28"):
            call = keda.channel.unary_unary("/externalscaler.ExternalScaler/IsActive")(garbage)
            code, _ = await failure(call)
            assert code != Code.OK
        await round_trip(keda)


async def test_an_error_is_logged_but_not_at_every_poll(serve: Serve, clock: ManualClock) -> None:
    async with serve() as keda:
        with capture_logs() as logs:
            for _ in range(3):
                await failure(keda.get_metrics(keda.ref(target="none")))
            await failure(keda.get_metrics(keda.ref(target="none", namespace="blog")))
        assert [(entry["log_level"], entry["code"], entry["namespace"]) for entry in logs] == [
            ("warning", "INVALID_ARGUMENT", "shop"),
            ("warning", "INVALID_ARGUMENT", "blog"),
        ]
        await clock.advance(301)
        with capture_logs() as logs:
            await failure(keda.get_metrics(keda.ref(target="none")))
        assert len(logs) == 1


async def test_names_are_remembered_for_the_log_only_as_far_as_they_are_names(serve: Serve) -> None:
    async with serve() as keda:
        with capture_logs() as logs:
            await failure(keda.get_metrics(keda.ref(target="none", namespace="n" * 60_000)))
        assert len(str(logs)) < 2_000


async def test_calls_are_counted_by_code_and_timed(serve: Serve, reader: ScriptedReader) -> None:
    async with serve() as keda:
        await keda.get_metrics(keda.ref())
        await keda.is_active(keda.ref())
        await failure(keda.is_active(keda.ref(target="none")))
        reader.answers["b"] = Unavailable("down")
        await failure(keda.get_metrics(keda.ref("b")))
        stream = keda.stub.StreamMetricSpec(keda.ref())
        await stream.read()
        await keda.server.streams.drain()
        assert await stream.code() == Code.OK
        assert samples(keda, "queue_scaler_rpc_total") == {
            ("GetMetrics", "OK"): 1,
            ("IsActive", "OK"): 1,
            ("IsActive", "INVALID_ARGUMENT"): 1,
            ("GetMetrics", "UNAVAILABLE"): 1,
            ("StreamMetricSpec", "OK"): 1,
        }
        assert samples(keda, "queue_scaler_rpc_duration_seconds_count") == {("GetMetrics",): 2, ("IsActive",): 2}
