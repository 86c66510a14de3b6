import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_patch import merged
from scaler.demo.kubernetes_paths import Rule

RELEASES = "/apis/helm.toolkit.fluxcd.io/v2/helmreleases"
INSIDE = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/flux/helmreleases"


def release(name: str, namespace: str = "flux", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"interval": "5m"}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def double(clock: ManualClock) -> AsyncIterator[KubernetesDouble]:
    running = KubernetesDouble(clock=clock)
    await running.start()
    yield running
    await running.stop()
    assert clock.pending == 0


@pytest.fixture
async def http(double: KubernetesDouble) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(double.url) as session:
        yield session


async def get(http: aiohttp.ClientSession, path: str, status: int = 200, **params: str) -> Any:
    async with http.get(path, params=params) as response:
        assert response.status == status
        return json.loads(await response.text())


def names(found: Any) -> list[str]:
    return [item["metadata"]["name"] for item in found["items"]]


async def test_pages_are_of_one_version(double: KubernetesDouble, http: aiohttp.ClientSession) -> None:
    for number in range(5):
        double.put("helmreleases", release(f"r{number}"))

    first = await get(http, RELEASES, limit="2")
    double.put("helmreleases", release("r0-later"))
    double.delete("helmreleases", "flux", "r4")
    second = await get(http, RELEASES, limit="2", **{"continue": first["metadata"]["continue"]})
    third = await get(http, RELEASES, limit="2", **{"continue": second["metadata"]["continue"]})

    assert [names(page) for page in (first, second, third)] == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert {page["metadata"]["resourceVersion"] for page in (first, second, third)} == {"1005"}
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert (first["kind"], first["apiVersion"]) == ("HelmReleaseList", "helm.toolkit.fluxcd.io/v2")


async def test_page_of_a_compacted_version_is_gone(double: KubernetesDouble, http: aiohttp.ClientSession) -> None:
    double.put("helmreleases", release("a"))
    double.put("helmreleases", release("b"))
    first = await get(http, RELEASES, limit="1")
    double.put("helmreleases", release("c"))
    double.store.compact()

    gone = await get(http, RELEASES, 410, limit="1", **{"continue": first["metadata"]["continue"]})

    assert (gone["kind"], gone["reason"], gone["code"]) == ("Status", "Expired", 410)


async def test_namespace_and_selector(double: KubernetesDouble, http: aiohttp.ClientSession) -> None:
    double.put("helmreleases", release("a", shard="1"))
    double.put("helmreleases", release("b"))
    double.put("helmreleases", release("c", "apps", shard="1"))

    assert names(await get(http, RELEASES)) == ["c", "a", "b"]  # in the order of namespace and name
    assert names(await get(http, INSIDE)) == ["a", "b"]
    assert names(await get(http, INSIDE, labelSelector="shard=1")) == ["a"]
    assert names(await get(http, RELEASES, labelSelector="!shard")) == ["b"]
    assert (await get(http, RELEASES, 400, labelSelector="shard=1=2"))["reason"] == "BadRequest"


class Watch:
    """A watch of the test: one event at a time."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any]:
        event = json.loads(await asyncio.wait_for(self._response.content.readline(), 5))
        return event["type"], event["object"]

    async def end(self) -> None:
        assert await asyncio.wait_for(self._response.content.read(), 5) == b""


async def test_watch_tells_what_happens_since_a_version(double: KubernetesDouble, http: aiohttp.ClientSession) -> None:
    double.put("helmreleases", release("a", shard="1"))
    since = (await get(http, RELEASES))["metadata"]["resourceVersion"]
    double.put("helmreleases", release("b", shard="1"))
    double.put("helmreleases", release("other"))

    params = {"watch": "true", "resourceVersion": since, "labelSelector": "shard=1"}
    async with http.get(RELEASES, params=params) as response:
        watch = Watch(response)
        kind, found = await watch.next()
        assert (kind, found["metadata"]["name"], found["kind"]) == ("ADDED", "b", "HelmRelease")

        changed = double.put("helmreleases", release("a", shard="1", more="x"))
        assert await watch.next() == ("MODIFIED", changed)

        double.put("helmreleases", release("b", shard="2"))  # no longer matches
        kind, found = await watch.next()
        assert (kind, found["metadata"]["labels"]) == ("DELETED", {"shard": "1"})
        assert found["metadata"]["resourceVersion"] == str(double.store.version)

        deleted = double.delete("helmreleases", "flux", "a")
        assert await watch.next() == ("DELETED", deleted)


async def test_watch_without_a_version_begins_with_what_is_there(
    double: KubernetesDouble, http: aiohttp.ClientSession
) -> None:
    double.put("helmreleases", release("a"))
    async with http.get(RELEASES, params={"watch": "1"}) as response:
        watch = Watch(response)
        assert (await watch.next())[0] == "ADDED"
        double.put("helmreleases", release("a", x="y"))
        assert (await watch.next())[0] == "MODIFIED"


async def test_bookmarks_and_the_end_come_with_time(
    double: KubernetesDouble, http: aiohttp.ClientSession, clock: ManualClock
) -> None:
    params = {"watch": "true", "resourceVersion": "1000", "allowWatchBookmarks": "true", "timeoutSeconds": "100"}
    async with (
        http.get(RELEASES, params=params) as response,
        http.get(RELEASES, params=params | {"allowWatchBookmarks": "false"}) as without,
    ):
        double.put("pods", {"metadata": {"name": "p", "namespace": "flux"}})
        await clock.advance(60)
        watch = Watch(response)
        kind, found = await watch.next()
        assert (kind, found["kind"], found["metadata"]) == ("BOOKMARK", "HelmRelease", {"resourceVersion": "1001"})
        await clock.advance(40)
        await watch.end()
        await Watch(without).end()


async def test_watch_of_a_compacted_version_is_told_that_it_is_gone(
    double: KubernetesDouble, http: aiohttp.ClientSession
) -> None:
    double.put("helmreleases", release("a"))
    double.store.compact()
    async with http.get(RELEASES, params={"watch": "true", "resourceVersion": "1000"}) as response:
        assert response.status == 200
        kind, status = await Watch(response).next()
    assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")


async def test_version_of_the_future(http: aiohttp.ClientSession) -> None:
    for params in ({}, {"watch": "true"}):
        status = await get(http, RELEASES, 504, resourceVersion="9999", **params)
        assert "Too large resource version" in status["message"]


async def test_discovery(http: aiohttp.ClientSession) -> None:
    assert (await get(http, "/api"))["versions"] == ["v1"]
    groups = (await get(http, "/apis"))["groups"]
    assert {"helm.toolkit.fluxcd.io", "argoproj.io"} <= {group["name"] for group in groups}
    group = await get(http, "/apis/helm.toolkit.fluxcd.io")
    assert group["preferredVersion"] == {"groupVersion": "helm.toolkit.fluxcd.io/v2", "version": "v2"}
    resources = (await get(http, "/apis/helm.toolkit.fluxcd.io/v2"))["resources"]
    assert [(entry["name"], entry["kind"], entry["namespaced"]) for entry in resources] == [
        ("helmreleases", "HelmRelease", True)
    ]
    for path in ("/apis/nothing", "/apis/helm.toolkit.fluxcd.io/v9", "/api/v9", "/api/v1/dreams", "/dreams"):
        assert (await get(http, path, 404))["kind"] == "Status"


async def test_single_objects(double: KubernetesDouble, http: aiohttp.ClientSession) -> None:
    async with http.post(INSIDE, json=release("a")) as response:
        assert response.status == 201
        made = await response.json()
    async with http.post(INSIDE, json=release("a")) as response:
        assert (response.status, (await response.json())["reason"]) == (409, "AlreadyExists")
    assert await get(http, f"{INSIDE}/a") == made

    patch = {"spec": {"suspend": True}, "metadata": {"labels": {"x": "y"}}}
    as_json_patch = {"Content-Type": "application/json-patch+json"}
    async with http.patch(f"{INSIDE}/a", json=patch, headers=as_json_patch) as response:
        assert response.status == 415
    as_merge_patch = {"Content-Type": "application/merge-patch+json"}
    by = {"fieldManager": "me"}
    async with http.patch(f"{INSIDE}/a", json=patch, headers=as_merge_patch, params=by) as response:
        patched = await response.json()
    (entry,) = patched["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("me", "Update")
    assert entry["fieldsV1"] == {"f:spec": {"f:suspend": {}}, "f:metadata": {"f:labels": {"f:x": {}}}}
    async with http.patch(f"{INSIDE}/a", json={"metadata": {"uid": "other"}}, headers=as_merge_patch) as response:
        assert (response.status, (await response.json())["reason"]) == (422, "Invalid")
    assert patched["spec"] == {"interval": "5m", "suspend": True}
    assert patched["metadata"]["generation"] == 2

    async with http.put(f"{INSIDE}/a", json=made) as response:
        assert (response.status, (await response.json())["reason"]) == (409, "Conflict")
    async with http.put(f"{INSIDE}/a", json=patched | {"spec": {}}) as response:
        assert (await response.json())["spec"] == {}

    async with http.delete(f"{INSIDE}/a") as response:
        assert (await response.json())["status"] == "Success"
    await get(http, f"{INSIDE}/a", 404)
    async with http.delete(INSIDE) as response:
        assert response.status == 405


@pytest.mark.parametrize(
    ("rule", "verb", "path", "granted"),
    [
        (Rule(), "list", RELEASES, True),
        (Rule(verbs=("watch",)), "list", RELEASES, False),
        (Rule(groups=("",)), "list", RELEASES, False),
        (Rule(resources=("pods",)), "list", RELEASES, False),
        (Rule(namespaces=("flux",)), "list", INSIDE, True),
        (Rule(namespaces=("apps",)), "list", INSIDE, False),
        (Rule(namespaces=("flux",)), "list", RELEASES, False),
    ],
)
async def test_tokens_may_do_what_their_rules_grant(rule: Rule, verb: str, path: str, *, granted: bool) -> None:
    double = KubernetesDouble(tokens={"t": (rule,)})
    await double.start()
    async with aiohttp.ClientSession(double.url) as session:
        assert (await get(session, path, 401))["reason"] == "Unauthorized"
        assert (await get(session, "/api", 401))["reason"] == "Unauthorized"
        session.headers["Authorization"] = "Bearer t"
        await get(session, "/api")
        status = await get(session, path, 200 if granted else 403)
        assert granted or f"cannot {verb} resource" in status["message"]
    await double.stop()


def test_merge_patch() -> None:
    """The cases of RFC 7386, appendix A, that are of objects."""
    assert merged({"a": "b"}, {"a": "c"}) == {"a": "c"}
    assert merged({"a": "b", "b": "c"}, {"a": None}) == {"b": "c"}
    assert merged({"a": ["b"]}, {"a": "c"}) == {"a": "c"}
    assert merged({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merged({"a": "foo"}, {"a": {"bar": {"b": None}}}) == {"a": {"bar": {}}}


KUBECTL = shutil.which("kubectl")


async def kubectl(double: KubernetesDouble, *args: str) -> str:
    assert KUBECTL is not None
    process = await asyncio.create_subprocess_exec(
        KUBECTL, "--server", double.url, *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
async def test_kubectl_takes_it_for_an_api_server(
    double: KubernetesDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # for its discovery cache, and to have no configuration
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for number in range(7):
        double.put("helmreleases", release(f"r{number}", shard=str(number % 2)))

    listed = await kubectl(double, "get", "helmreleases", "-n", "flux", "-l", "shard=1", "--chunk-size=2", "-o", "name")
    assert listed.split() == [f"helmrelease.helm.toolkit.fluxcd.io/r{number}" for number in (1, 3, 5)]
    assert double.requests["list", "helmreleases"] == 2

    await kubectl(double, "label", "helmrelease", "r0", "-n", "flux", "new=label")
    await kubectl(double, "delete", "helmrelease", "r1", "-n", "flux", "--wait=false")
    everything = json.loads(await kubectl(double, "get", "helmreleases", "-A", "-o", "json"))
    assert names(everything) == ["r0", "r2", "r3", "r4", "r5", "r6"]
    assert everything["items"][0]["metadata"]["labels"] == {"shard": "0", "new": "label"}

    raw = json.loads(await kubectl(double, "get", "--raw", f"{RELEASES}?limit=1"))
    assert names(raw) == ["r0"]
