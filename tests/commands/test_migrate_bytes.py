"""Whatever a migration does not touch stays byte for byte, however the file is written."""

import io

import yaml
from hypothesis import given
from hypothesis import strategies as st

from scaler.commands.manifests import File
from scaler.commands.migrate.command import Result, migrate, report
from scaler.commands.migrate.model import Options


def made(result: Result) -> str:
    (done,) = [each for _, each in result.files]
    return done.text


COMMENT = st.sampled_from(["", "  # why", "\n", "   "])
EXTRA = st.sampled_from(["", "    # a comment\n", "    - type: cron\n      metadata: {timezone: UTC, start: 0 6 * * *, end: 0 7 * * *, desiredReplicas: '1'}\n", "\n"])  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> tuple[str, str]:
    """Return a file, and what of it must stay: everything in front of the triggers, and behind them."""
    key = st.sampled_from(["queueLength", "activationQueueLength", "scaleOnInFlight", "identityOwner"])
    values = {"queueLength": "7", "activationQueueLength": "1", "scaleOnInFlight": "true", "identityOwner": "operator"}
    indent = draw(st.sampled_from(["", "  ", "    "]))
    head = (
        f"{draw(st.sampled_from(['', '# first', '---']))}\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\n"
        f"metadata: {{name: a, labels: {{ 'x' :   \"é😀\" }} }}\nspec:{draw(COMMENT)}\n  scaleTargetRef: {{name:  a}}\n  triggers:\n"
    )
    body = ""
    for _ in range(draw(st.integers(1, 3))):
        keys = draw(st.lists(key, unique=True))
        quote = draw(st.sampled_from(['"', "'"]))
        where = draw(st.integers(0, len(keys)))
        lines = [f"{each}: {quote}{values[each]}{quote}{draw(COMMENT).rstrip(chr(10))}" for each in keys]
        lines[where:where] = ["queueURL: a", "awsRegion: eu-west-1"]
        if draw(st.booleans()):
            body += f"{indent}  - type: aws-sqs-queue{draw(COMMENT).rstrip(chr(10))}\n{indent}    metadata:\n"
            body += "".join(f"{indent}      {line}\n" for line in lines)
        else:
            pairs = ", ".join(line.partition("  #")[0].rstrip() for line in lines)
            body += f"{indent}  - {{type: aws-sqs-queue, metadata: {{{pairs}}}}}\n"
        extra = draw(EXTRA)
        body += "".join(f"{indent}{line.removeprefix('  ')}\n" if line.strip() else "\n" for line in extra.splitlines())
    tail = draw(st.sampled_from(["", "  pollingInterval:   5\n", "---\nkind: Other\nx: [1,  2]\n"]))
    return head + body + tail, head


@given(manifests(), st.booleans())
def test_whatever_is_not_touched_stays_byte_for_byte(drawn: tuple[str, str], crlf: bool) -> None:  # noqa: FBT001 - drawn
    text, head = (part.replace("\n", "\r\n") if crlf else part for part in drawn)
    result = migrate([File("a.yaml", named=True, text=text)], Options())
    after = made(result)
    assert not any(plan.left for _, plan in result.plans()), list(report(result))
    assert after.startswith(head)
    assert after.count("#") == text.count("#")
    old, new = (list(yaml.safe_load_all(io.StringIO(each))) for each in (text, after))
    for was, now in zip(old, new, strict=True):
        if was is not None and was.get("kind") == "ScaledObject":
            for before, behind in zip(was["spec"].pop("triggers"), now["spec"].pop("triggers"), strict=True):
                if before["type"] == "aws-sqs-queue":
                    before["metadata"].pop("identityOwner", None)
                    assert before["metadata"].items() <= behind["metadata"].items()
                    assert behind["metadata"]["source"] == "sqs"
                else:
                    assert before == behind
        assert was == now
    lines = [
        line for line in text.splitlines(keepends=True) if "aws-sqs-queue" not in line and "identityOwner" not in line
    ]
    found = iter(after.splitlines(keepends=True))
    assert all(line in found for line in lines), "a line is lost, changed or moved"
    assert made(migrate([File("a.yaml", named=True, text=after)], Options())) == after
