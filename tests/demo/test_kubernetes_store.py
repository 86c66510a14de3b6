import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.kubernetes.selectors import parse_selector
from scaler.demo.kubernetes_store import ExpiredError, Kind, Store, Stored, seen_by

PODS = Kind("", "v1", "Pod", "pods")


def pod(name: str, **labels: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "n", "labels": labels}, "spec": {}}


def names(found: list[Stored]) -> list[str]:
    return [stored.name for stored in found]


def test_metadata_is_kept_as_an_api_server_does() -> None:
    store = Store((PODS,))

    first = store.put(PODS, pod("a"))
    second = store.put(PODS, pod("a") | {"spec": {"x": 1}})
    third = store.put(PODS, pod("a", b="c") | {"spec": {"x": 1}})

    versions = [int(each["metadata"]["resourceVersion"]) for each in (first, second, third)]
    assert versions == sorted(set(versions))
    assert [each["metadata"]["generation"] for each in (first, second, third)] == [1, 2, 2]
    assert len({each["metadata"]["uid"] for each in (first, second, third)}) == 1
    assert (third["apiVersion"], third["kind"]) == ("v1", "Pod")
    assert store.get(PODS, "n", "a") == third


CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "relabel", "delete"])), max_size=12)


@settings(deadline=None)
@given(changes=CHANGES, selector=st.sampled_from(["", "on=1", "!on"]))
def test_a_list_and_the_changes_since_it_make_every_later_list(changes: list[tuple[str, str]], selector: str) -> None:
    store, wanted = Store((PODS,)), parse_selector(selector)

    def matches(stored: Stored) -> bool:
        return all(each.holds(stored.labels) for each in wanted)

    lists = {store.version: store.snapshot(PODS, matches, store.version)}
    for name, what in changes:
        if what == "delete":
            store.delete(PODS, "n", name)
        else:
            store.put(PODS, pod(name, **({"on": "1"} if what == "relabel" else {})))
        lists[store.version] = store.snapshot(PODS, matches, store.version)

    for version, then in lists.items():
        assert store.snapshot(PODS, matches, version) == then
        followed = {stored.key: stored for stored in then}
        for change in store.changes(PODS, version):
            event = seen_by(change, matches)
            if event is not None:
                kind, stored = event
                assert (kind == "ADDED") == (stored.key not in followed)
                assert stored.version == change.version
                followed[stored.key] = stored
                if kind == "DELETED":
                    del followed[stored.key]
        assert sorted(followed) == [stored.key for stored in lists[store.version]]


def test_history_is_gone_when_it_is_compacted() -> None:
    store = Store((PODS,))
    store.put(PODS, pod("a"))
    then = store.version
    store.put(PODS, pod("b"))

    assert names(store.snapshot(PODS, lambda _: True, then)) == ["a"]
    store.compact()
    for version in (then, store.version + 1):
        with pytest.raises(ExpiredError):
            store.changes(PODS, version)
    assert store.changes(PODS, store.version) == []
