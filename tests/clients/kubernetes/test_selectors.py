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


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "blanks", ["a in (" + ", " * 1_900, "a in (" + " " * 3_900, "a=" + " " * 3_900, "a" + " " * 3_900]
)
def test_blanks_are_shared_in_one_way(blanks: str) -> None:
    """With two of them next to each other in the pattern, this would take more than the age of the universe."""
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_selector(blanks + "!")


@pytest.mark.parametrize(
    "selector", ["a in ( x , , y )", "a in ()", "a in (,)", " a  notin( x ) , b ", "a = , b", "a=", "! a"]
)
def test_blanks_may_be_anywhere(selector: str) -> None:
    assert parse_selector(selector) == parse_selector(
        selector.replace(" ", "").replace("in(", " in(").replace("not in", " notin")
    )


def test_a_selector_has_an_end() -> None:
    with pytest.raises(ValueError, match="a selector of more than 4000 characters"):
        parse_selector("a," * 2_000 + "a")


def test_what_a_selector_says() -> None:
    assert parse_selector("a in (x, y),!b,c!=z,d") == (
        Requirement("a", "in", frozenset("xy")),
        Requirement("b", "absent"),
        Requirement("c", "notin", frozenset("z")),
        Requirement("d", "exists"),
    )
