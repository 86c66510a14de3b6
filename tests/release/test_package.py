"""The wheel and the sdist, built as the release builds them: everything that is needed, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from hatch_build import REPOSITORY, readme
from tools.markdown import links
from tools.release import version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in tracked():  # elsewhere, because the build writes the stubs that tests beside this one import
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tree / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", folder], cwd=tree, capture_output=True, check=True
    )
    return folder


def metadata(dist: Path) -> str:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return wheel.read(name).decode()


def tracked() -> list[str]:
    """Return the files of the repository, new ones included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def members(dist: Path) -> set[str]:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_sdist_is_what_a_build_needs(dist: Path) -> None:
    found = members(dist)
    outside = {name for name in found if not name.startswith("scaler/")}
    assert outside == {
        *("CHANGELOG.md", "LICENSE", "README.md", "PKG-INFO", "pyproject.toml", "hatch_build.py", ".gitignore"),
        *(f"protos/{path.name}" for path in (ROOT / "protos").iterdir()),
    }
    inside = {name for name in found if name.startswith("scaler/") and not name.startswith("scaler/pb/")}
    assert inside <= set(tracked())


def test_the_wheel_has_the_whole_package_with_its_types_and_stubs(dist: Path) -> None:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        found = set(wheel.namelist())
    assert {"scaler/py.typed", "scaler/pb/externalscaler_pb2.py", "scaler/pb/externalscaler_pb2_grpc.py"} <= found
    assert {name.partition("/")[0] for name in found if ".dist-info/" not in name} == {"scaler"}
    sources = {str(each.relative_to(ROOT)) for each in (ROOT / "scaler").rglob("*.py") if "pb" not in each.parts}
    assert sources <= found
    for line in ("Classifier: Typing :: Typed", "Author: The keda-queue-scaler maintainers", "License-Expression:"):
        assert line in metadata(dist)
    assert "Project-URL: Changelog, " in metadata(dist)


def test_the_wheel_of_the_sdist_is_the_wheel(dist: Path, tmp_path: Path) -> None:
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not there before Python 3.11.4
        archive.extractall(tmp_path)
    (tree,) = tmp_path.iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path / "again"],
        cwd=tree,
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "again" / wheel.name).read_bytes() == wheel.read_bytes()


def test_pypi_shows_the_readme_with_links_that_lead_somewhere(dist: Path) -> None:
    page = metadata(dist)
    found = links(page)
    tag = f"/v{version()}/"
    assert len(found) > 20
    assert any(link.startswith("https://raw.githubusercontent.com/") for link in found)
    for link in found:
        assert link.startswith(("https://", "#")), link
        if tag in link:
            assert (ROOT / link.partition(tag)[2].partition("#")[0]).exists(), link


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](docs/a.md#b)", "[a](https://github.com/X/blob/v1/docs/a.md#b)"),
        ("[s](samples/)", "[s](https://github.com/X/tree/v1/samples)"),
        (
            "[![p](i/p.png)](docs/p.md)",
            "[![p](https://raw.githubusercontent.com/X/v1/i/p.png)](https://github.com/X/blob/v1/docs/p.md)",
        ),
        ('<img src="i/p.svg">', '<img src="https://raw.githubusercontent.com/X/v1/i/p.svg">'),
        ("[k](https://keda.sh) [h](#here) <b>(no)</b>", "[k](https://keda.sh) [h](#here) <b>(no)</b>"),
    ],
)
def test_a_link_is_made_whole(text: str, expected: str) -> None:
    assert readme(text, "1").replace(REPOSITORY, "X") == expected
