"""The site with a folder for each version: `python -m tools.site PAGES SITE VERSION` puts a built SITE into PAGES.

The layout is that of `mike`, which Material for MkDocs' version selector reads: `versions.json` and the alias `latest`.
"""

import json
import re
import shutil
import sys
from pathlib import Path

_FORWARD = """\
<!doctype html>
<meta charset="utf-8">
<title>keda-queue-scaler</title>
<meta http-equiv="refresh" content="0; url=latest/">
<a href="latest/">Documentation</a>
"""


def order(version: str) -> tuple[tuple[int, ...], bool]:
    """Return what versions are ordered by: their numbers, a release after its previews."""
    numbers, _, preview = version.partition("-")
    return tuple(map(int, numbers.split("."))), not preview


def publish(pages: Path, site: Path, version: str) -> None:
    """Put `site` into `pages` as `version`, and as `latest` if no version there is newer; raises `ValueError`."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?", version):
        raise ValueError(f"{version}: must be a version such as 1.2.3")
    known = {path.name for path in pages.iterdir() if re.fullmatch(r"\d+\.\d+\.\d+\S*", path.name)} | {version}
    newest_first = sorted(known, key=order, reverse=True)
    latest = next((each for each in newest_first if "-" not in each), newest_first[0])
    for name in {version, "latest"} if version == latest else {version}:
        shutil.rmtree(pages / name, ignore_errors=True)
        shutil.copytree(site, pages / name)
    listed = [
        {"version": each, "title": each, "aliases": ["latest"] if each == latest else []} for each in newest_first
    ]
    (pages / "versions.json").write_text(json.dumps(listed, indent=1) + "\n")
    (pages / "index.html").write_text(_FORWARD)
    (pages / ".nojekyll").touch()  # else GitHub leaves out what begins with an underscore


def main() -> int:
    """Publish what the command line names; return the exit code."""
    pages, site, version = sys.argv[1:]
    try:
        publish(Path(pages), Path(site), version)
    except ValueError as error:
        sys.stderr.write(f"tools.site: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
