"""stft and istft agree with PyTorch, values and gradients (float64, rtol 1e-10)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ShapeError

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:A window was not provided")]

SETTINGS = {
    "plain": {"n_fft": 16},
    "hop": {"n_fft": 16, "hop_length": 5, "window": True},
    "short window": {"n_fft": 16, "win_length": 12, "window": True},
    "normalized": {"n_fft": 8, "hop_length": 2, "normalized": True, "window": True},
    "two-sided": {"n_fft": 8, "onesided": False},
    "not centered": {"n_fft": 8, "hop_length": 4, "center": False},
    "constant padding": {"n_fft": 16, "pad_mode": "constant"},
}


def options(setting):
    static = dict(setting)
    window = None
    if static.pop("window", False):
        window = np.hanning(static.get("win_length", static["n_fft"]) + 2)[1:-1]
    return static, window


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("shape", [(50,), (2, 50)], ids=str)
def test_stft_agrees_with_pytorch(name, shape):
    static, window = options(SETTINGS[name])
    x = np.random.default_rng(0).normal(size=shape)
    a, b = lc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours = ops.stft(a, window=None if window is None else lc.tensor(window), **static)
    theirs = torch.stft(b, window=None if window is None else torch.tensor(window), return_complex=True, **static)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
    (ours.abs() ** 2).sum().backward()
    (theirs.abs() ** 2).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in SETTINGS if n != "constant padding"])
@pytest.mark.parametrize("length", [None, 45, 60], ids=str)
@pytest.mark.filterwarnings("ignore:The length of signal is shorter")
def test_istft_agrees_with_pytorch_and_undoes_stft(name, length):
    static, window = options(SETTINGS[name])
    if name == "short window" and length == 60:
        return  # the last samples lie under no window: both refuse
    if static.get("onesided") is None:
        static["onesided"] = True
    x = np.random.default_rng(1).normal(size=(2, 50))
    w, tw = (None, None) if window is None else (lc.tensor(window), torch.tensor(window))
    spectrum = ops.stft(lc.tensor(x), window=w, **static).detach()
    a = lc.tensor(spectrum.numpy(), requires_grad=True)
    b = torch.tensor(spectrum.numpy(), requires_grad=True)
    ours = ops.istft(a, window=w, length=length, **static)
    theirs = torch.istft(b, window=tw, length=length, **static)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
    shown = min(ours.shape[-1], 50 if length is None else length, 40)
    np.testing.assert_allclose(ours.detach().numpy()[:, :shown], x[:, :shown], rtol=1e-9, atol=1e-11)
    (ours**2).sum().backward()
    (theirs**2).sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_windows_that_leave_a_gap_are_refused():
    spectrum = lc.zeros((5, 4), dtype="complex128")
    with pytest.raises(ShapeError, match="add up to 0 somewhere"):
        ops.istft(spectrum, 8, hop_length=9, center=False)


def test_bad_sizes_are_named():
    with pytest.raises(ShapeError, match="stft: 4 samples are fewer than n_fft=8"):
        ops.stft(lc.zeros(4), 8, center=False)
    with pytest.raises(ShapeError, match="expected a window of shape"):
        ops.stft(lc.zeros(40), 8, window=lc.zeros(7))
    with pytest.raises(ShapeError, match=r"istft: expected \(..., 5 frequencies, frames\), got shape \(4, 3\)"):
        ops.istft(lc.zeros((4, 3), dtype="complex64"), 8)
