"""Other people's containers: Hugging Face ``datasets``, Parquet files (extra ``hub``) and WebDataset's tar shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from lunar_core.component import field, positive
from lunar_core.contracts.dataset import ArrayDataset, DatasetCard
from lunar_core.errors import DataError
from lunar_data.reading import ExampleDataset, need


class HuggingFace(ExampleDataset):
    """A split of a Hugging Face dataset, local or from the hub, by the ``datasets`` package.

    ``columns`` are the fields, the target last. Pictures come as uint8 (C, H, W), text as a NumPy string, the rest as
    arrays. Scripts of the repository are never run.
    """

    path: str = field(doc="name on the hub, or a folder")
    columns: tuple[str, ...] = field(doc="which columns, the target last")
    split: str = field(default="train", doc="which split")
    name: str | None = field(default=None, doc="configuration of the set")
    revision: str | None = field(default=None, doc="commit or tag, for a run that can be repeated")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.columns

    def _open(self) -> Any:
        held = self.__dict__.get("_held")
        if held is None:
            package = need("datasets", "hub", "HuggingFace")
            try:
                if os.path.isdir(self.path) and os.path.exists(os.path.join(self.path, "state.json")):
                    held = package.load_from_disk(self.path)
                elif os.path.isdir(self.path) and os.path.exists(os.path.join(self.path, "dataset_dict.json")):
                    held = package.load_from_disk(self.path)[self.split]
                else:
                    held = package.load_dataset(self.path, self.name, split=self.split, revision=self.revision)
            except Exception as error:  # the package raises whatever its file formats and its network do
                raise DataError(f"Hugging Face dataset {self.path!r}, split {self.split!r}: {error}") from error
            missing = [column for column in self.columns if column not in held.column_names]
            if missing:
                raise DataError(f"{self.path}: no column {missing[0]!r}; the columns are {held.column_names}")
            self.__dict__["_held"] = held
        return held

    def __len__(self) -> int:
        return len(self._open())

    def example(self, index: int) -> tuple[np.ndarray, ...]:
        row = self._open()[index]
        return tuple(_as_array(row[column]) for column in self.columns)

    @property
    def classes(self) -> tuple[str, ...] | None:
        names = getattr(self._open().features.get(self.columns[-1]), "names", None)
        return None if names is None else tuple(names)

    @property
    def card(self) -> DatasetCard:
        info = self._open().info
        return DatasetCard(self.path, len(self), info.homepage or self.path, info.license or "unknown", info.citation)


def _as_array(value: Any) -> np.ndarray:
    if hasattr(value, "getbands"):  # a Pillow picture
        pixels = np.asarray(value.convert("L" if value.mode in ("1", "L", "I;16") else "RGB"))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array


class Parquet(ArrayDataset):
    """Columns of a Parquet file as arrays, by ``pyarrow``: ``x`` float32 (N, F) and the target ``y``.

    ``columns`` are the inputs (all but the target by default), numbers; the target is int64 or float32 as its column
    is, and text becomes class numbers in sorted order.
    """

    path: str = field(doc="the file")
    target: str = field(doc="column of the target")
    columns: tuple[str, ...] = field(default=(), doc="columns of the inputs")
    max_bytes: int = field(default=1 << 34, validator=positive, doc="refuse a file that unpacks to more")

    def read(self) -> tuple[np.ndarray, ...]:
        package = need("pyarrow.parquet", "hub", "Parquet")
        try:
            file = package.ParquetFile(self.path)
            size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.num_row_groups))
            names = [name for name in file.schema_arrow.names if name != self.target]
            wanted = [*(self.columns or names), self.target]
            for name in wanted:
                if name not in file.schema_arrow.names:
                    raise DataError(f"{self.path}: there is no column {name!r}; it has {file.schema_arrow.names}")
            if size > self.max_bytes:
                raise DataError(f"{self.path}: announces {size} bytes, at most {self.max_bytes} are read")
            table = file.read(columns=wanted)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {self.path}") from error
        except DataError:
            raise
        except Exception as error:  # pyarrow's errors have no base but Exception
            raise DataError(f"{self.path}: no Parquet file, truncated or corrupt: {error}") from error
        inputs = []
        for name in wanted[:-1]:
            values = table.column(name).to_numpy()
            if values.dtype.kind not in "iufb":
                raise DataError(f"{self.path}, column {name!r}: {table.column(name).type} is no number")
            inputs.append(values.astype(np.float32))
        y = table.column(self.target).to_numpy()
        self._classes = None
        if y.dtype.kind not in "iufb":
            if any(not isinstance(value, str) for value in y):
                raise DataError(f"{self.path}, column {self.target!r}: a target is a number or text, in every row")
            names_, y = np.unique(y.astype(str), return_inverse=True)
            self._classes = tuple(map(str, names_))
        kind = np.float32 if y.dtype.kind == "f" else np.int64
        return np.stack(inputs, axis=1), y.astype(kind)

    @property
    def classes(self) -> tuple[str, ...] | None:
        self.arrays()
        return self._classes


class WebDataset(ExampleDataset):
    """Examples in tar shards, as the ``webdataset`` package writes them: ``0001.jpg`` and ``0001.cls`` are one example.

    ``parts`` are the suffixes to take, in order, the target last: jpg, png, ... (uint8 (C, H, W)), cls (a number), txt
    (text), json (text), npy (an array without objects). ``shards`` are paths. The shards are indexed once, by their
    headers alone; an example is then read by its place, so indexing and shuffling are free. Nothing is unpacked to disk.
    """

    shards: tuple[str, ...] = field(doc="paths of the tar files, in order")
    parts: tuple[str, ...] = field(default=("jpg", "cls"), doc="suffixes of an example's files, the target last")
    max_member: int = field(default=1 << 28, validator=positive, doc="a larger file in a shard is refused")

    @property
    def fields(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.parts

    def _index(self) -> list[tuple[str, str, tuple[tuple[int, int], ...]]]:
        held = self.__dict__.get("_held")
        if held is None:
            held = [entry for shard in self.shards for entry in self._scan(shard)]
            if not held:
                raise DataError(f"WebDataset: {list(self.shards)[:3]} hold no example")
            self.__dict__["_held"] = held
        return held

    def _scan(self, shard: str) -> Iterator[tuple[str, str, tuple[tuple[int, int], ...]]]:
        groups: dict[str, dict[str, tuple[int, int]]] = {}
        try:
            size = os.path.getsize(shard)
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    folder, name = os.path.split(member.name)
                    stem, _, suffix = name.partition(".")
                    if member.size > self.max_member or member.offset_data + member.size > size:
                        raise DataError(f"{shard}, member {member.name}: {member.size} bytes: too large or truncated")
                    groups.setdefault(os.path.join(folder, stem), {})[suffix.lower()] = (
                        member.offset_data,
                        member.size,
                    )
        except FileNotFoundError as error:
            raise DataError(f"there is no file {shard}") from error
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DataError(f"{shard}: no plain tar file, truncated or corrupt: {error}") from error
        for key, found in groups.items():
            missing = [part for part in self.parts if part not in found]
            if missing:
                raise DataError(f"{shard}: example {key!r} has no .{missing[0]}, it has {sorted(found)}")
            yield shard, key, tuple(found[part] for part in self.parts)

    def __len__(self) -> int:
        return len(self._index())

    def example(self, index: int) -> tuple[np.ndarray, ...]:
        shard, key, places = self._index()[index]
        with open(shard, "rb") as file:
            values = []
            for part, (offset, size) in zip(self.parts, places):
                file.seek(offset)
                values.append(_decoded(file.read(size), part, f"{shard}, member {key}.{part}"))
        return tuple(values)


def _decoded(data: bytes, part: str, where: str) -> np.ndarray:
    kind = part.rpartition(".")[2]
    try:
        if kind in ("cls", "id"):
            return np.asarray(int(data), np.int64)
        if kind == "txt":
            return np.asarray(data.decode())
        if kind == "json":
            json.loads(data)
            return np.asarray(data.decode())
        if kind == "npy":
            return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OverflowError, RecursionError) as error:
        raise DataError(f"{where}: {error}") from error
    image = need("PIL.Image", "images", "pictures in shards")
    try:
        return _as_array(image.open(io.BytesIO(data)))
    except Exception as error:  # Pillow's decoders raise whatever their format module does
        raise DataError(f"{where}: no image, truncated or corrupt: {error}") from error
