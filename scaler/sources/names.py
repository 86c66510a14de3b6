"""How a metric is named in the HPA: from metadata alone, the same for ever, different for different things."""

import re
from hashlib import blake2b

MAX_LENGTH = 59
"""Characters of a name. KEDA puts `s0-` … `s99-` before it, and the sum stays within the 63 of a label value."""

_HASH_LENGTH = 8


def metric_name(*parts: str) -> str:
    """Return `parts` joined to one lowercase name of `[a-z0-9-]`, at most `MAX_LENGTH` characters long.

    Where that loses something (case, another character, the end) a short hash is appended, so that what differs keeps
    different names: `orders` and `Orders` are two queues of SQS.
    """
    joined = "-".join(parts)
    name = re.sub("[^a-z0-9]+", "-", joined.lower()).strip("-")
    if name == joined and 0 < len(name) <= MAX_LENGTH:
        return name
    digest = blake2b(joined.encode(), digest_size=_HASH_LENGTH // 2).hexdigest()
    kept = name[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip("-")
    return f"{kept}-{digest}" if kept else digest
