"""Parquet and Hugging Face datasets by their own libraries."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_core.errors import DataError, PluginLoadError
from lunar_data.hub import HuggingFace, Parquet

pytestmark = pytest.mark.parity


def test_parquet_columns_become_arrays_and_bad_files_one_error(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    parquet.write_table(arrow.table({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "y": ["dog", "cat", "dog"]}), path)
    data = Parquet(str(path), target="y")
    x, y = data.arrays()
    np.testing.assert_array_equal(x, np.array([[1, 0.5], [2, 1.5], [3, 2.5]], np.float32))
    assert y.tolist() == [1, 0, 1] and data.classes == ("cat", "dog")
    with pytest.raises(DataError, match="no column 'z'"):
        Parquet(str(path), target="z").arrays()
    with pytest.raises(DataError, match="at most 10 are read"):
        Parquet(str(path), target="y", max_bytes=10).arrays()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"t\.parquet: no Parquet file"):
        Parquet(str(path), target="y").arrays()


def test_a_saved_hugging_face_dataset_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    made = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 1]}, features=features)
    made.save_to_disk(str(tmp_path / "set"))
    data = HuggingFace(str(tmp_path / "set"), columns=("text", "label"))
    assert (len(data), data.classes) == (3, ("bad", "good"))
    assert data[[0, 2]][0].tolist() == ["a", "c"] and data[[0, 2]][1].tolist() == [0, 1]
    with pytest.raises(DataError, match="no column 'x'"):
        len(HuggingFace(str(tmp_path / "set"), columns=("x",)))


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(PluginLoadError, match=r"lunarlearn\[hub\]"):
        Parquet("x", target="y").arrays()
