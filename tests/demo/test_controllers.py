import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scaler.demo.controllers import DIALECTS, MAX_PRIORITIES, Controller


def series(controller: Controller, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(controller.page())
        for sample in family.samples
        if sample.name == name
    }


NAME, CONTROLLER = ("name", "a"), ("controller", "a")


@pytest.mark.parametrize(
    ("dialect", "labels"),
    [
        pytest.param("client-go", [(NAME,)], id="client-go"),
        pytest.param("controller-runtime 0.15", [(NAME,)], id="0.15"),
        pytest.param("controller-runtime 0.19", [(CONTROLLER, NAME)], id="0.19"),
        pytest.param("controller-runtime 0.21", [(CONTROLLER, NAME, ("priority", ""))], id="0.21"),
        pytest.param(
            "controller-runtime 0.23",
            [(CONTROLLER, NAME, ("priority", "0")), (CONTROLLER, NAME, ("priority", "-100"))],
            id="0.23",
        ),
    ],
)
def test_labels_of_the_depth(dialect: str, labels: list[tuple[tuple[str, str], ...]]) -> None:
    controller = Controller(["a"], dialect)
    controller.set_depth("a", 3)
    controller.set_depth("a", 4, priority=-100)
    found = series(controller, "workqueue_depth")
    assert list(found) == labels
    assert sum(found.values()) == 7
    assert sum(series(controller, "workqueue_adds_total").values()) == 7


def test_a_priority_queue_has_no_depth_before_its_first_item() -> None:
    controller = Controller(["a"])
    assert series(controller, "workqueue_depth") == {}
    assert series(controller, "workqueue_adds_total") == {(CONTROLLER, NAME): 0.0}
    assert series(Controller(["a"], "controller-runtime 0.21"), "workqueue_depth") != {}


def test_only_so_many_priorities_have_a_series() -> None:
    controller = Controller(["a"])
    for priority in range(MAX_PRIORITIES + 5):
        controller.set_depth("a", 1, priority=priority)
    found = series(controller, "workqueue_depth")
    assert len(found) == MAX_PRIORITIES + 1
    assert found[CONTROLLER, NAME, ("priority", "exceeded_cardinality_limit")] == 5


def test_who_publishes_active_workers_and_who_prefixes() -> None:
    publishing = {name for name in DIALECTS if series(Controller(["a"], name), "controller_runtime_active_workers")}
    assert publishing == {name for name in DIALECTS if name.startswith("controller-runtime")}
    assert series(Controller(["a"], "prometheus-operator"), "prometheus_operator_workqueue_depth") == {(NAME,): 0.0}


def test_a_standby_has_no_queues() -> None:
    controller = Controller(["a"], "controller-runtime 0.21")
    controller.leads = False
    assert series(controller, "workqueue_depth") == {}
    assert set(series(controller, "leader_election_master_status").values()) == {0.0}
    controller.leads = True
    assert series(controller, "workqueue_depth") != {}
    assert set(series(controller, "leader_election_master_status").values()) == {1.0}


async def test_the_page_is_served_compressed_if_wanted() -> None:
    controller = Controller(["a"])
    await controller.start()
    async with aiohttp.ClientSession() as session, session.get(controller.url) as response:
        assert response.headers["Content-Encoding"] in {"gzip", "deflate"}
        assert response.content_type == "text/plain"
        assert await response.text() == controller.page()
    assert controller.requests == 1
    await controller.close()
