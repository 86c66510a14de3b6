"""Questions of KEDA to a desk."""

from typing import Any

from scaler.answers.scaledobject import ScaledObject

WAIT_SECONDS = 1.9


async def told_by_is_active(objects: Any, who: ScaledObject) -> Any:
    answer = objects.answers.polled(who) or await objects.answers.answer(who, WAIT_SECONDS)
    return answer.told
