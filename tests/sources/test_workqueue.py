"""Triggers on work queues: the pages that they read, and which metadata are wrong."""

from collections.abc import AsyncIterator

import pytest

from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.clients.pages.reader import PagesReader, PodPages, UrlPages
from scaler.core.domain import MetricSpec, Place
from scaler.core.errors import MetadataError
from scaler.demo.controllers import DIALECTS, Controller
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends
from scaler.sources.base import Claim
from scaler.sources.triggers import parse
from scaler.sources.workqueue import SOURCE
from tests.sources.workqueues import URL, trigger

# Metadata


def test_defaults() -> None:
    found = trigger()
    assert found.specs() == (MetricSpec("workqueue-a", 50.0),)
    assert (found.activation_queue_length, found.count_active, found.aggregate) == (0, True, "sum")


def test_the_name_follows_from_the_queues_and_the_target_is_the_queue_length() -> None:
    assert trigger(queues="kustomization", queueLength="2.5").specs() == (MetricSpec("workqueue-kustomization", 2.5),)
    names = [trigger(queues=queues).specs()[0].name for queues in ("a,b", "b,a", "a_b", "A,b")]
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("selector", "label"),
    [
        ('name="a"', "name"),
        ('job="x", name =~"a"', "name"),
        ('job="x",priority!="0"', "priority"),
        ('controller="a"', "controller"),
        ('job="name",pod_name="a"', None),
    ],
)
def test_a_label_that_no_target_has_is_told(selector: str, label: str | None) -> None:
    cautions = trigger(prometheusURL="http://p", selector=selector).cautions("Deployment", 3)
    assert [each.split(" is a label")[0] for each in cautions] == ([f"selector: {label}"] if label else [])


def test_a_thousand_triggers_on_one_controller_are_one_place() -> None:
    places = {
        place
        for n in range(1_000)
        for place in trigger(queues=f"q{n}", countActive=str(n % 2 == 0).lower(), queueLength=str(n + 1)).places()
    }
    assert len(places) == 1


@pytest.mark.parametrize(
    ("metadata", "kind", "claim"),
    [
        pytest.param({}, UrlPages, Claim("url", URL), id="metricsURL"),
        pytest.param({"podSelector": "app=c"}, PodPages, Claim("kubernetes", "shop"), id="podSelector"),
        pytest.param({"prometheus": "main"}, PrometheusPages, Claim("prometheus", "main"), id="prometheus"),
        pytest.param({"prometheusURL": "http://p"}, PrometheusPages, Claim("url", "http://p"), id="prometheusURL"),
    ],
)
def test_every_way_to_the_pages(metadata: dict[str, str], kind: type[Place], claim: Claim) -> None:
    found = trigger(**metadata)
    assert [type(place) for place in found.places()] == [kind]
    assert found.claims() == (claim,)
    assert {kind for reader in SOURCE.readers for kind in getattr(reader, "kinds", ())} >= {
        place.kind for place in found.places()
    }


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(
            {"queues": "a"},
            "metricsURL: one of metricsURL, podSelector, prometheus, prometheusURL must say where the metrics are",
            id="nowhere",
        ),
        pytest.param(
            {"queues": "a", "metricsURL": "http://user:canary@h", "podSelector": "a=b"},
            "metricsURL, podSelector: give only one of them",
            id="twice",
        ),
        pytest.param({"metricsURL": URL}, "queues: required for source workqueue", id="no queues"),
        pytest.param(
            {"queues": "a", "metricsURL": "user:canary@h:80"},
            "metricsURL: the value (not shown, it may hold a secret) is not allowed; it must be http://HOST[:PORT]/PATH "
            "or https://HOST[:PORT]/PATH",
            id="no URL",
        ),
        pytest.param(
            {"queues": "a", "metricsURL": URL, "aggregate": "avg"},
            "aggregate: 'avg' is not allowed; it must be one of 'sum' or 'max'",
            id="aggregate",
        ),
        pytest.param(
            {"queues": "a", "metricsURL": URL, "metricName": "workqueue_adds_total"},
            "metricName: 'workqueue_adds_total' is not allowed; it must be the name of a series that ends in depth, such "
            "as prometheus_operator_workqueue_depth",
            id="another series",
        ),
        pytest.param(
            {"queues": "a", "metricsURL": URL, "queue": "a"},
            "queue: unknown key for source workqueue; did you mean queues?",
            id="a misspelt key",
        ),
    ],
)
def test_wrong_metadata_is_explained(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(MetadataError) as refused:
        parse({"source": "workqueue", **metadata}, "shop")
    assert str(refused.value) == message


# Controllers of every kind, from page to value


@pytest.fixture
async def controller() -> AsyncIterator[Controller]:
    made = Controller(["a", "b"])
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def reader() -> AsyncIterator[PagesReader]:
    made = Backends().hand(PagesReader)
    yield made
    await made.close()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect(controller: Controller, reader: PagesReader, dialect: str) -> None:
    controller.dialect = DIALECTS[dialect]
    prefix = controller.dialect.prefix
    metadata = {"metricName": f"{prefix}workqueue_depth"} if prefix else {}
    found = trigger(metricsURL=controller.url, **metadata)

    async def told() -> float:
        readings = Reported()
        await reader.read(found.places(), readings)
        return found.assess(readings, 0).metrics[0].value

    assert await told() == 0
    controller.set_depth("a", 3, priority=0)
    controller.set_depth("a", 4, priority=-100)
    controller.set_depth("b", 50)
    controller.queues["a"].active = 2
    assert await told() == 7 + (2 if controller.dialect.active_workers else 0)
    controller.set_depth("a", 0, priority=0)
    controller.set_depth("a", 0, priority=-100)
    controller.queues["a"].active = 0
    assert await told() == 0
