"""What holds for all tests."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # the machine may be as busy as it likes
settings.load_profile("untimed")


INTEGRATION = Path(__file__).parent / "integration"


def pytest_configure() -> None:
    """Hears Ctrl-C also where a shell started the tests in the background, deaf to it.

    The many objects of loaded libraries are looked through less often for cycles: they take time.
    """
    gc.set_threshold(50_000, 20, 50)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks whole searches and boards over SSH as slow: `make test-slow` runs them."""
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def board_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A board's lock for this process alone: tests that run side by side measure side by side."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSDNN_BOARD_LOCK", str(tmp_path_factory.mktemp("board") / "lock"))
        yield
