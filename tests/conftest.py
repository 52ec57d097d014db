"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # the machine may be as busy as it likes
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def board_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A board's lock for this process alone: tests that run side by side measure side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSDNN_BOARD_LOCK", str(tmp_path_factory.mktemp("board") / "lock"))
        yield
