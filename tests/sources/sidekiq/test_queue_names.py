import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.errors import MetadataError
from scaler.sources import triggers
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.queue_names import check


def queues(written: str) -> tuple[str, ...]:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": written}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed.queues


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("default", ("default",)),
        ("critical, default , low", ("critical", "default", "low")),
        ("Low_Priority,a-b.c:d", ("Low_Priority", "a-b.c:d")),
        ("app:critical", ("app:critical",)),
        ("1,2,3", ("1", "2", "3")),
        ("2,critical", ("2", "critical")),
        ("q10,q2", ("q10", "q2")),
        ("über/alles@home+x=1#%&!~", ("über/alles@home+x=1#%&!~",)),
        ("within_24_hours,5min", ("within_24_hours", "5min")),
    ],
)
def test_name_of_a_queue_is_taken_as_it_is(written: str, expected: tuple[str, ...]) -> None:
    assert queues(written) == expected


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("critical 2", "such as `critical`: weights are left out here"),
        ("critical 2,default 1", "such as `critical,default`: weights are left out"),
        ("critical,2", "such as `critical`: `2` looks like the weight of `critical`"),
        ("critical,2,default,1", "such as `critical,default`: `2` looks like the weight of `critical`"),
        ("[critical, default]", 'is a list, and what a trigger holds is text; write "critical,default"'),
        ("[critical, 2], [default, 1]", "such as `critical,default`: brackets"),
        ('["critical","default"]', 'is a list, and what a trigger holds is text; write "critical,default"'),
        ("'critical','default'", "such as `critical,default`: brackets and quotes"),
        ("critical default", "such as `critical,default`: a name holds no blank, so commas separate them"),
        ("critical\ndefault", "such as `critical,default`: a name holds no blank"),
        ("- critical\n- default\n", "such as `critical,default`: a name holds no blank"),
        ("-q critical -q default", "a name holds no blank"),
        ("critical;default", "such as `critical,default`: `;` is in no name"),
        ("critical|default", "such as `critical,default`: `|` is in no name"),
        ("*", "such as `critical,default`: `*` stands for no name here, so each queue is written out"),
        ("mail*", "`*` stands for no name here"),
        ("mail?", "`?` stands for no name here"),
        (
            "queue:sq|worker-7f9-x2k:1:5d1c|critical",
            "such as `critical`: `queue:sq|…` is the private list of one process",
        ),
        ("sq|worker-7f9-x2k:1:5d1c|critical,low", "such as `critical,low`: `queue:sq|…` is"),
        ("queue:default", "such as `default`: without the `queue:` of their keys"),
        (
            "${QUEUE}",
            "such as `critical,default`: `$` is in no name, and KEDA fills in no variables; queuesFromEnv takes",
        ),
        ("$(QUEUE)", "queuesFromEnv takes the name of one"),
        ("<%= ENV['Q'] %>", "is in no name"),
        ("a\tb", "a name holds no blank"),
        ("a\x00b", "is in no name"),
        ("a\u00a0b", "a name holds no blank"),
        ("critical\u3000default", "such as `critical,default`: a name holds no blank"),
        ("critical\uff0cdefault", "such as `critical,default`: `\uff0c` is no comma here"),
        ("critical\u3001default", "such as `critical,default`: `\u3001` is no comma here"),
        ("default\u200b", "such as `default`: the character U+200B, which cannot be seen, is in no name"),
        ("\ufeffdefault,low", "such as `default,low`: the character U+FEFF"),
        ("redis://cache/0", "such as `critical,default`: a URL is no name"),
        ("app:queue:default", "such as `default`: without the `app:queue:` of their keys; the namespace belongs under"),
        ("critical, default # both", "such as `critical,default`: a name holds no blank"),
        ("%w[critical default]", "such as `critical,default`: brackets"),
        ("--queue critical", "such as `critical`: a name holds no blank"),
        ("critical => 2", "such as `critical`: weights are left out here"),
    ],
)
def test_no_name_is_refused_with_the_right_form(written: str, told: str) -> None:
    with pytest.raises(MetadataError) as error:
        queues(written)
    assert "queues: " in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        "critical 2,default 1",
        "critical,2,default,1",
        "[critical, default]",
        "critical default",
        "- critical\n- default",
    ],
)
def test_the_form_that_is_told_is_taken(written: str) -> None:
    with pytest.raises(MetadataError) as error:
        queues(written)
    form = re.search('(?:such as `|write ")([^`"]+)', str(error.value))
    assert form is not None
    assert queues(form[1]) == ("critical", "default")


@given(st.lists(st.from_regex(r"[a-zA-Z_:.\-][a-zA-Z0-9_:.\-]{0,20}", fullmatch=True), min_size=1, max_size=8))
def test_every_name_that_sidekiqs_page_shows_is_taken(names: list[str]) -> None:
    names = [name for name in names if not re.search("(^|:)queue:", name)] or ["default"]
    assert check(tuple(names)) == tuple(names)


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_anything_else_is_taken_or_refused(names: list[str]) -> None:
    try:
        checked = check(tuple(names))
    except ValueError:
        return
    assert checked == tuple(names)
