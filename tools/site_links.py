"""A hook of MkDocs: links that leave docs/ lead to the repository, at the tag in `SITE_REF` or on `main`."""

import os
import re
from typing import Any

_REPOSITORY = "https://github.com/keda-queue-scaler/keda-queue-scaler"
_OUTSIDE = re.compile(r"(\]\()\.\./([^)\s#]*)((?:#[^)\s]*)?\))")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return `markdown` with its links to `../…` made whole: a folder's with `tree`, a file's with `blob`."""
    ref = os.environ.get("SITE_REF", "main")

    def whole(match: re.Match[str]) -> str:
        path = match[2].rstrip("/")
        kind = "blob" if "." in path.rpartition("/")[2] or path.rpartition("/")[2].isupper() else "tree"
        return f"{match[1]}{_REPOSITORY}/{kind}/{ref}/{path}{match[3]}"

    return _OUTSIDE.sub(whole, markdown)
