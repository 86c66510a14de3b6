"""Generates the gRPC stubs from protos/ during the build; `python hatch_build.py` does the same for a work tree.

It also makes the README's links whole, because PyPI shows it without the repository around it.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent
REPOSITORY = "keda-queue-scaler/keda-queue-scaler"


def generate_stubs() -> None:
    """Write `scaler/pb/*_pb2*.py`."""
    from grpc_tools import protoc  # noqa: PLC0415 - the package is only there in a build

    out = ROOT / "scaler" / "pb"
    out.mkdir(exist_ok=True)
    (out / "__init__.py").write_text('"""Stubs generated from protos/; not to be edited."""\n')
    arguments = [
        "protoc",
        f"-Iscaler/pb={ROOT / 'protos'}",  # the virtual path makes the stubs import each other as scaler.pb
        f"--python_out={ROOT}",
        f"--pyi_out={ROOT}",
        f"--grpc_python_out={ROOT}",
        *(f"scaler/pb/{proto.name}" for proto in sorted((ROOT / "protos").glob("*.proto"))),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed: see its message above")


def readme(text: str, version: str) -> str:
    """Return the README with its links to files of the repository, at the tag of `version`, instead of relative ones."""

    def whole(match: re.Match[str]) -> str:
        path = match[2]
        if re.search(r"\.(png|svg|gif|jpe?g|webp)$", path):
            return f"{match[1]}https://raw.githubusercontent.com/{REPOSITORY}/v{version}/{path}"
        kind = "tree" if path.endswith("/") else "blob"
        return f"{match[1]}https://github.com/{REPOSITORY}/{kind}/v{version}/{path.rstrip('/')}"

    return re.sub(r"""(\]\(|(?:src|srcset|href)=")(?![a-z]+:|#)([^)\s"]+)""", whole, text)


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # run by hand in an environment without hatchling
    pass
else:

    class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's hook is generic in a config it does not export
        """Hatchling calls this before it collects files."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Generate the stubs; `version` and `build_data` are hatchling's and not needed."""
            del version, build_data
            generate_stubs()

    class CustomMetadataHook(MetadataHookInterface):
        """Hatchling calls this for what pyproject.toml calls dynamic."""

        def update(self, metadata: dict[str, Any]) -> None:
            """Fill in the README."""
            text = readme((ROOT / "README.md").read_text(), metadata["version"])
            metadata["readme"] = {"content-type": "text/markdown", "text": text}


if __name__ == "__main__":
    generate_stubs()
