"""Names of metrics in the HPA: from the metadata alone, stable, and different for different triggers."""

import re
from hashlib import blake2b

MAX_LENGTH = 59
"""Characters of a name. KEDA puts `s0-` … `s99-` before it, and a label value may have 63 characters."""

_HASH_LENGTH = 8


def metric_name(*parts: str) -> str:
    """Return `parts` joined to a lowercase name of `[a-z0-9-]` with at most `MAX_LENGTH` characters.

    If that loses something (case, another character, the end), a short hash is appended, so that different parts get
    different names: `orders` and `Orders` are two queues of SQS.
    """
    joined = "-".join(parts)
    name = re.sub("[^a-z0-9]+", "-", joined.lower()).strip("-")
    if name == joined and 0 < len(name) <= MAX_LENGTH:
        return name
    digest = blake2b(joined.encode(), digest_size=_HASH_LENGTH // 2).hexdigest()
    kept = name[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip("-")
    return f"{kept}-{digest}" if kept else digest
