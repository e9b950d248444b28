"""What is closed at the end of a `with`."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self


class Closing(abc.ABC):
    """As a context manager it gives itself, and is closed at the end."""

    @abc.abstractmethod
    def close(self) -> None:
        """Twice does nothing more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
