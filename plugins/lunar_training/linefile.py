"""A text file that grows by lines during a run, and goes on where a checkpoint left it."""

from __future__ import annotations

import os
from typing import Any


class LineFile:
    """``path`` open for writing: from its beginning, or after the first ``position`` bytes of what it holds.

    What a run wrote after its last checkpoint is cut off when it is resumed there, so that no line stands twice.
    """

    def __init__(self, path: str | os.PathLike[str], position: int | None = None) -> None:
        known = position is not None and os.path.exists(path)
        self._file: Any = open(path, "r+b" if known else "wb")  # noqa: SIM115 - closed by close()
        if known:
            self._file.truncate(min(position or 0, os.fstat(self._file.fileno()).st_size))
            self._file.seek(0, os.SEEK_END)

    @property
    def position(self) -> int:
        """How many bytes were written, also before the run was resumed."""
        return int(self._file.tell())

    def write(self, text: str) -> None:
        self._file.write(text.encode())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
