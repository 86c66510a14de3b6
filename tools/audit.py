"""`python -m tools.audit` holds the locked dependencies against the known vulnerabilities, where an index of them answers.

An index that knows no advisories, as most mirrors do, says of every package that nothing is known against it, and
pip-audit takes that for success. So an index is first asked about a package with known vulnerabilities, and only if it
finds those does it count what it says of ours.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).parent.parent / "locks" / "runtime.txt"
INDEXES = {"PyPI": ("--vulnerability-service", "pypi"), "OSV": ("--vulnerability-service", "osv")}
KNOWN_BAD = "jinja2==2.4.1"  # PYSEC-2014-8, PYSEC-2019-217 and others
SOCKET_SECONDS, FIRST_SECONDS, ALL_SECONDS = 5, 10, 120


class NoAnswerError(Exception):
    """There is no index that tells; says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What `index` has said: how many packages it knows, what is known against them, and which it does not know."""

    index: str
    known: int
    findings: tuple[str, ...]
    unknown: tuple[str, ...]


def audit(lock: Path = LOCK, indexes: Mapping[str, Sequence[str]] = INDEXES) -> Answer:
    """Return what the first index that answers says of the packages in `lock`; raises `NoAnswerError`."""
    reasons = []
    for index, options in indexes.items():
        try:
            _try_out(index, options)
            return _ask(index, (*options, "--require-hashes"), lock, ALL_SECONDS)
        except NoAnswerError as reason:
            reasons.append(f"{index}: {reason}")
    raise NoAnswerError("; ".join(reasons))


def _try_out(index: str, options: Sequence[str]) -> None:
    """Raise `NoAnswerError` unless `index` tells what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        known_bad = Path(folder) / "requirements.txt"
        known_bad.write_text(KNOWN_BAD)
        if not _ask(index, (*options, "--no-deps"), known_bad, FIRST_SECONDS).findings:
            raise NoAnswerError(f"it knows nothing against {KNOWN_BAD}, so it has no advisories")


def _ask(index: str, options: Sequence[str], requirements: Path, seconds: int) -> Answer:
    """Ask with pip-audit; its exit code does not tell a finding from a failure, so its report has to."""
    program = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [*program, "--timeout", str(SOCKET_SECONDS), *options, "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)  # noqa: S603 - all of it is ours
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"no answer in {seconds} s") from None
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise NoAnswerError((done.stderr.strip().splitlines() or ["no report"])[-1][:160]) from None
    unknown = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Answer(index, len(packages) - len(unknown), tuple(_findings(packages)), unknown)


def _findings(packages: Sequence[Mapping[str, object]]) -> Iterator[str]:
    for package in packages:
        for found in package.get("vulns", ()):  # type: ignore[attr-defined]  # pip-audit's report
            fixed = ", ".join(found["fix_versions"]) or "nothing yet"
            yield f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}"


def main(lock: Path = LOCK, indexes: Mapping[str, Sequence[str]] = INDEXES) -> int:
    """Print what is found; return the exit code, which with `--strict` is 1 too if not everything could be audited."""
    strict = "--strict" in sys.argv[1:]
    try:
        answer = audit(lock, indexes)
    except NoAnswerError as reason:
        sys.stdout.write(f"audit: skipped, no index of advisories answers ({reason})\n")
        return int(strict)
    sys.stdout.writelines(f"audit: {finding}\n" for finding in answer.findings)
    if answer.unknown:
        sys.stdout.write(f"audit: not known to {answer.index}, so not audited: {', '.join(answer.unknown)}\n")
    sys.stdout.write(
        f"audit: {len(answer.findings)} known vulnerabilities in {answer.known} packages ({answer.index})\n"
    )
    return int(bool(answer.findings) or (strict and bool(answer.unknown)))


if __name__ == "__main__":
    sys.exit(main())
