"""Files of ours read by the reference implementation of the format, and the other way round."""

from __future__ import annotations

import numpy as np
import pytest

from lunar_core import serialize

safetensors = pytest.importorskip("safetensors.numpy")

pytestmark = pytest.mark.parity

RNG = np.random.default_rng(0)
STATE = {
    "conv.weight": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "bias": RNG.normal(size=5),
    "half": RNG.normal(size=(2, 7)).astype(np.float16),
    "steps": np.array(17),
    "mask": RNG.random((3, 3)) > 0.5,
    "bytes": RNG.integers(0, 255, (3, 1), dtype=np.uint8),
    "empty": np.empty((0, 4), np.float32),
    "ключ": np.arange(3, dtype=np.int16),
}


def test_the_reference_reads_what_we_write(tmp_path):
    serialize.save(STATE, tmp_path / "x.safetensors", metadata={"by": "lunar"})
    back = safetensors.load_file(tmp_path / "x.safetensors")
    assert back.keys() == STATE.keys()
    for name, array in STATE.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_we_read_what_the_reference_writes(tmp_path):
    safetensors.save_file(STATE, tmp_path / "x.safetensors", metadata={"by": "reference"})
    back = serialize.load(tmp_path / "x.safetensors")
    for name, array in STATE.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert serialize.load_metadata(tmp_path / "x.safetensors") == {"by": "reference"}


def test_bfloat16_goes_to_torch_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_file({"x": values}, tmp_path / "theirs")
    back = serialize.load(tmp_path / "theirs")
    np.testing.assert_array_equal(back["x"].astype(np.float32), values.float().numpy())
    serialize.save(back, tmp_path / "ours")
    assert torch.equal(load_file(tmp_path / "ours")["x"], values)
