"""A board that measures through a measuring server: all but how that server is started."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from qsdnn.board import (
    BoardInfo,
    Care,
    Evaluation,
    MeasureOptions,
    Package,
    Record,
    Reference,
    State,
)
from qsdnn.errors import BoardError
from qsdnn.measure.batches import room_of
from qsdnn_boards.spec.spec import GENERIC, Spec, specs
from qsdnn_runtime.board.probe import boot_id

from . import wire
from .client import ServerClient, ServerLostError
from .host import introduce
from .transport import Transport
from .wire import Harvest

T = TypeVar("T")
Tell = Callable[[str], None]

RUN_TIMEOUT_S = 600.0
# The time limit to load a package, or to run a package once.
STEP_TIMEOUT_S = 120.0


class ServedBoard(ABC):
    """Implements `qsdnn.board.Board`. The measuring server starts when it is first needed.

    After the measuring server was lost, or a call was interrupted, the next call starts a new one.

    Args:
        name: The user's name for the board.
        spec: The kind of board; any machine with Linux when None.
    """

    performs: ClassVar[bool]
    """Whether the board's performance mode is set when `Care` does not say."""

    def __init__(self, name: str, spec: Spec | None = None) -> None:
        self.name = name
        self.care = Care()
        self.spent_s: dict[str, float] = {}
        self._spec = spec or specs()[GENERIC]
        self._introduction = introduce()
        self._boot_id = ""
        self._client: ServerClient | None = None
        self._info: BoardInfo | None = None

    @abstractmethod
    def _start(self) -> Transport:
        """Starts a measuring server.

        Raises:
            BoardError: The measuring server cannot be started.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def elsewhere(self) -> bool:
        """See `qsdnn.board.Board.elsewhere`; an address cannot tell, as ports may be forwarded."""
        return self._boot_id not in ("", boot_id())

    def probe(self) -> BoardInfo:
        """See `qsdnn.board.Board.probe`."""
        if self._info is None:
            self._info = self._with_server(ServerClient.probe)
        return self._info

    def hold(self, on_progress: Callable[[str], None] | None = None) -> None:
        """See `qsdnn.board.Board.hold`."""
        self._held(lambda client, tell: None, on_progress)

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """See `qsdnn.board.Board.measure`.

        Raises:
            BoardError: Another host measures on the board, or the board refuses the artifacts, e.g.
                because its disk is full.
        """
        records: dict[int, Record] = {}
        conditions = wire.conditions(self._spec, self.care, perform=self.performs)

        def work(client: ServerClient, tell: Tell) -> None:
            spent_s = client.measure(
                packages,
                reference,
                options,
                conditions,
                records.__setitem__,
                tell,
                shifts=room_of(self._info).shifts(packages),
            )
            for step, seconds in spent_s.items():
                self.spent_s[step] = self.spent_s.get(step, 0.0) + seconds

        error = self._until_lost(work, on_progress) if packages else ""
        lost = Record(state=State.BOARD_LOST, error=error)
        return [records.get(index, lost) for index in range(len(packages))]

    def run(
        self,
        package: Package,
        feeds: Mapping[str, Any],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """See `qsdnn.board.Board.run`."""

        def work(client: ServerClient, tell: Tell) -> dict[str, Any]:
            return client.run(package, feeds, tell, threads=threads, timeout_s=RUN_TIMEOUT_S)

        return self._held(work, on_progress)

    def evaluate(
        self,
        packages: Sequence[Package],
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        threads: int = 1,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Evaluation]:
        """See `qsdnn.board.Board.evaluate`."""
        harvest = Harvest()

        def work(client: ServerClient, tell: Tell) -> None:
            client.evaluate(
                packages, inputs, harvest, tell, threads=threads, timeout_s=STEP_TIMEOUT_S
            )

        error = self._until_lost(work, on_progress) if packages else ""
        lost = Evaluation(state=State.BOARD_LOST, error=error)
        return harvest.evaluations(len(packages), lost)

    def _until_lost(
        self, work: Callable[[ServerClient, Tell], None], on_progress: Tell | None
    ) -> str:
        """Does some work with the board held; returns how the board was lost, if it was."""
        try:
            self._held(work, on_progress)
        except ServerLostError as error:
            return error.message
        return ""

    def _held(self, work: Callable[[ServerClient, Tell], T], on_progress: Tell | None) -> T:
        """Does some work with the measuring server once the board measures for nobody else."""
        tell = on_progress or (lambda text: None)

        def held(client: ServerClient) -> T:
            client.hold(self.care.wait_s, tell)
            return work(client, tell)

        return self._with_server(held)

    def _with_server(self, work: Callable[[ServerClient], T]) -> T:
        """Does some work with the measuring server; starts one when there is none."""
        if self._client is None:
            self._client = ServerClient(self.name, self._start(), self._introduction)
            self._boot_id = self._client.boot_id
        try:
            return work(self._client)
        except BaseException as error:
            # Unless the board refused, an answer may be half read: the server can be asked no more.
            if not isinstance(error, BoardError) or isinstance(error, ServerLostError):
                self._client.kill()
                self._client = None
            raise
