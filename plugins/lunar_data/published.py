"""Datasets whose files are published: where they lie, what the card says of them, and how they are fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from lunar_core.component import field
from lunar_core.contracts.dataset import ArrayDataset, Dataset, DatasetCard
from lunar_data.download import Progress, RemoteFile, cache_root, fetch


class Published(Dataset):
    """Base of datasets that are read from published files, which are downloaded at the first use.

    ``folder`` is where the files are or shall be; by default a folder of this set in the cache, ``$LUNAR_DATA`` or
    ``~/.cache/lunarlearn/data``. With ``download=False`` they must be there.
    """

    folder: str | None = field(default=None, kw_only=True, doc="folder of the files; by default one in the cache")
    download: bool = field(default=True, kw_only=True, doc="fetch what is missing")

    #: Name of the set's folder in the cache, and what its card says.
    cache_name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    homepage: ClassVar[str] = ""
    licence: ClassVar[str] = "unknown"
    attribution: ClassVar[str] = ""

    def remote(self) -> tuple[RemoteFile, ...]:
        """The files that this object reads."""
        raise NotImplementedError(f"{type(self).__name__} must define remote")

    def expected_size(self) -> int:
        """The number of examples, known before anything is read."""
        raise NotImplementedError(f"{type(self).__name__} must define expected_size")

    def place(self) -> Path:
        """The folder of the files."""
        return cache_root() / self.cache_name if self.folder is None else Path(self.folder)

    def fetch(self, progress: Progress | None = None) -> list[Path]:
        """The paths of the files, after downloading those that are missing.

        Raises:
            DataError: a file is missing and cannot be had; the message says which file to put where.
        """
        return [self.path(file, progress) for file in self.remote()]

    def path(self, file: RemoteFile, progress: Progress | None = None) -> Path:
        """The path of one file, downloaded if it is missing and ``download`` allows it."""
        there = self.place() / file.name
        if there.is_file() and not self.download:
            return there
        if not self.download and not there.exists():
            from lunar_data.download import _missing

            raise _missing(file, there, ["download=False"])
        plain = there.with_suffix("") if there.suffix == ".gz" else there
        if plain != there and plain.is_file() and not there.exists():
            return plain  # unpacked by hand
        return fetch(file, self.place(), progress=progress)

    @property
    def card(self) -> DatasetCard:
        return DatasetCard(
            title=self.title,
            size=self.expected_size(),
            source=self.homepage,
            licence=self.licence,
            attribution=self.attribution,
            files=tuple((file.name, file.size, file.sha256) for file in self.remote()),
            classes=self.classes,
        )


class PublishedArrays(Published, ArrayDataset):
    """A published dataset that fits in memory: a subclass gives ``read``, ``remote`` and ``expected_size``."""


def mirrored(name: str, size: int, sha256: str, *bases: str) -> RemoteFile:
    """A file that lies under its own name at each of ``bases``."""
    return RemoteFile(name, size, sha256, tuple(base.rstrip("/") + "/" + os.path.basename(name) for base in bases))
