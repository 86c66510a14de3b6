"""The worked examples of docs/tuning.md are what `advise` says; minutes of search, so only with `-m bench`."""

import pytest

from scaler.commands.advice.search import advise
from tools.tuning_docs import EXAMPLES, Example


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_the_settings_of_the_page_are_found_again_and_sure(example: Example) -> None:
    advice = advise(example.task(), lambda _runs: None)
    assert advice.settings == dict(example.settings)
    assert advice.sure
