import pytest

from scaler.clients.kubernetes.selectors import Requirement, parse_selector

LABELS = {"app": "web", "tier": "front", "example.com/shard": "1", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "picked"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier = front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("absent!=web", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("absent notin (db)", True),
        ("app notin (web,db)", False),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("! app", False),
        ("!example.com/shard", False),
        ("example.com/shard=1,!absent,app in (web)", True),
        ("app=", False),
        ("empty=", True),
        ("empty in ()", True),
        ("absent=", False),
        ("app notin (web),absent", False),
        ("app in (web),app notin (db)", True),
        ("in in (x)", False),
        ("example.com/shard notin (platform)", True),
    ],
)
def test_selector(selector: str, picked: bool) -> None:  # noqa: FBT001 - a column of the table
    assert all(each.holds(LABELS) for each in parse_selector(selector)) is picked


@pytest.mark.parametrize(
    "selector",
    [
        "=web",
        "app=web=x",
        "app in web",
        "app>1",
        "app=web;tier=front",
        "a b",
        "!",
        "app=web,",
        ",app",
        "a/b/c=d",
        "/a",
        "-a",
        "a in (b",
        "a in (b))",
        "a in b)",
        "a=" + "x" * 64,
    ],
)
def test_selector_that_is_none(selector: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_selector(selector)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "selector",
    [
        "a=b," * 2_000 + "a in (" + " " * 60_000,
        "a in (" + ", " * 30_000,
        "a in (b" + " " * 60_000,
        "a=" + " " * 60_000 + "/",
        "!" + " " * 60_000,
        " " * 60_000 + ";",
        "a," + " " * 60_000 + "b c",
        "a/" * 30_000,
    ],
    ids=lambda selector: selector[:12],
)
def test_no_hostile_selector_takes_long(selector: str) -> None:
    """Blanks around a value that may be empty can be shared out in very many ways."""
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_selector(selector)


def test_what_a_selector_says() -> None:
    assert parse_selector("a in (x, y),!b,c!=z,d") == (
        Requirement("a", "in", frozenset("xy")),
        Requirement("b", "absent"),
        Requirement("c", "notin", frozenset("z")),
        Requirement("d", "exists"),
    )
