"""Things that own memory outside Python and free it when they are closed, not when the collector comes by."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closes(ABC):
    """Freed by `close`, or by leaving a `with` block."""

    @abstractmethod
    def close(self) -> None:
        """Frees what is owned. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
