"""The reader that every source on an HTTP API shares."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from scaler.clients.http.reader import HttpPlace, HttpReader
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from scaler.sources.access import Access, AccessRule
from scaler.sources.backends import Backends


@dataclass(frozen=True, slots=True)
class Tasks(HttpPlace):
    kind: ClassVar[str] = "tasks"

    def __str__(self) -> str:
        return "the tasks"

    def value(self, body: bytes) -> int:
        found = json.loads(body)
        if "gone" in found:
            raise Refused("there is no such queue")
        return int(found["tasks"])


class TasksReader(HttpReader):
    kinds = frozenset({Tasks.kind})


@pytest.fixture
def said() -> bytes:
    return answer(b'{"tasks": 3}')


def place(server: RawServer, login: str = "") -> Tasks:
    return Tasks(f"http://{login}127.0.0.1:{server.port}/tasks")


async def read(place: Tasks, backends: Backends | None = None) -> Reported:
    reader, told = (backends or Backends()).hand(TasksReader), Reported()
    await reader.read([place], told)
    await reader.close()
    return told


async def test_a_whole_answer_is_a_value_with_its_proof(server: RawServer) -> None:
    asked: list[tuple[str, str, int]] = []
    wanted = place(server, "scaler:canary@")
    told = await read(wanted, Backends(count_requests=lambda *request: asked.append(request)))
    where = f"127.0.0.1:{server.port}"
    assert told == {wanted: 3}
    assert told.proofs[wanted] == f"whole: the answer to its end, by its length; from: http://{where}/tasks"
    assert asked == [(f"tasks/{where}", "GET", 1)]
    assert "Authorization: Basic c2NhbGVyOmNhbmFyeQ==" in server.heads[0]
    assert wanted != place(server), "another identity may see other things"
    assert "canary" not in repr(wanted) + str(wanted) + wanted.backend


@pytest.mark.parametrize(
    ("said", "fault", "text"),
    [
        (answer(b'{"tasks": 3}', headers={"Content-Length": "99"}), Unavailable, "broke off before its end"),
        (b'HTTP/1.0 200 OK\r\n\r\n{"tasks": 3}', Unavailable, "nothing shows where the answer ends"),
        (answer(b"{}"), Unavailable, r"cannot be understood \(KeyError\)"),
        (answer(b"[" * 400_000), Unavailable, r"cannot be understood \(RecursionError\)"),
        (answer(b" " * 600_000), Unavailable, "larger than 524288 bytes"),
        (answer(b'{"gone": 1}'), Refused, "no such queue"),
        (answer(b"no canary here", status=401), Refused, r"HTTP 401.*the server says 'no \*\*\* here'"),
    ],
)
async def test_anything_else_is_a_fault_that_names_the_place(
    server: RawServer, said: bytes, fault: type[Fault], text: str
) -> None:
    server.answer = said
    wanted = place(server, "scaler:canary@")
    told = await read(wanted)
    assert type(told[wanted]) is fault
    with pytest.raises(fault, match=f"^the tasks: .*{text}"):
        raise told[wanted]


async def test_a_redirect_is_followed_where_the_tenant_may_read_and_gets_no_password(server: RawServer) -> None:
    other = RawServer(answer(b'{"tasks": 7}'))
    await other.start()
    target = f"http://127.0.0.1:{other.port}/"
    server.answer = answer(b"", status=302, headers={"Location": target})
    wanted = place(server, "scaler:canary@")
    assert await read(wanted) == {wanted: 7}
    assert "Authorization" not in other.heads[0]
    told = await read(wanted, Backends(access=Access([AccessRule(namespaces=("shop",), urls=("http://else/",))])))
    assert isinstance(told[wanted], Refused)
    assert len(other.heads) == 1
    await other.close()
