"""A board that measures through an agent: all of one but how the agent is started."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from qsdnn.board import BoardInfo, MeasureOptions, Package, Record, Reference, State
from qsdnn.errors import BoardError

from .client import AgentClient, AgentLostError
from .transport import Transport

T = TypeVar("T")

RUN_TIMEOUT_S = 600.0


class AgentBoard(ABC):
    """Implements `qsdnn.board.Board`. The agent starts when it is first needed.

    After the agent was lost, or a call was interrupted, the next call starts a new one.

    Args:
        name: As the user calls it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: AgentClient | None = None
        self._info: BoardInfo | None = None

    @abstractmethod
    def _start(self) -> Transport:
        """Starts an agent.

        Raises:
            BoardError: It cannot be started.
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

    def probe(self) -> BoardInfo:
        """See `qsdnn.board.Board.probe`."""
        if self._info is None:
            self._info = self._with_agent(AgentClient.probe)
        return self._info

    def measure(
        self,
        packages: Sequence[Package],
        reference: Reference,
        options: MeasureOptions,
        on_progress: Callable[[str], None] | None = None,
    ) -> list[Record]:
        """See `qsdnn.board.Board.measure`.

        Raises:
            BoardError: The board refuses the artifacts, e.g. because its disk is full.
        """
        records: dict[int, Record] = {}
        tell = on_progress or (lambda text: None)

        def work(client: AgentClient) -> None:
            client.send_artifacts(packages, tell)
            client.measure(packages, reference, options, records.__setitem__, tell)

        lost = Record(state=State.BOARD_LOST)
        if packages:
            try:
                self._with_agent(work)
            except AgentLostError as error:
                lost = Record(state=State.BOARD_LOST, error=error.message)
        return [records.get(index, lost) for index in range(len(packages))]

    def run(
        self, package: Package, feeds: Mapping[str, Any], *, threads: int = 1
    ) -> dict[str, Any]:
        """See `qsdnn.board.Board.run`."""

        def work(client: AgentClient) -> dict[str, Any]:
            client.send_artifacts([package], lambda text: None)
            return client.run(package, feeds, threads=threads, timeout_s=RUN_TIMEOUT_S)

        return self._with_agent(work)

    def _with_agent(self, work: Callable[[AgentClient], T]) -> T:
        """Does something with the agent, started when there is none."""
        if self._client is None:
            self._client = AgentClient(self.name, self._start())
        try:
            return work(self._client)
        except BaseException as error:
            # Except after a refusal, an answer may be half read: it can be asked nothing more.
            if not isinstance(error, BoardError) or isinstance(error, AgentLostError):
                self._client.kill()
                self._client = None
            raise
