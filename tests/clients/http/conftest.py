from collections.abc import AsyncIterator

import pytest

from scaler.clients.http.names import Names


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    """Look up as this machine does."""
    made = Names()
    yield made
    await made.close()
