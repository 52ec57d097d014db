"""What a search says before it measures anything."""

import pytest

from qsdnn.tuning.prepare import _adding


@pytest.mark.parametrize(
    ("engines", "command"),
    [
        (["torch"], "to add it: pip install 'qsdnn[torch]'"),
        (["ncnn", "torch"], "to add them: pip install 'qsdnn[ncnn,torch]'"),
        (["mnn"], "to add all: pip install 'qsdnn[all]'"),
    ],
)
def test_the_command_that_adds_a_missing_engine(engines: list[str], command: str) -> None:
    assert _adding(engines) == command
