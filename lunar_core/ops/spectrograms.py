"""Short-time Fourier transforms: stft and istft, with the conventions of PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..errors import ShapeError
from ..tensor import _raw
from .arranging import sliding_windows
from .fft import fft, ifft, irfft, rfft
from .indexing import scatter_along_axis
from .reduction import _like
from .shape import broadcast_to, pad, reshape, swapaxes


def _window(window: Any, n_fft: int, win_length: int | None, op: str, like: Any) -> Any:
    """The window in the middle of ``n_fft`` samples; ones where none is given."""
    length = n_fft if win_length is None else int(win_length)
    if not 0 < length <= n_fft:
        raise ShapeError(f"{op}: win_length must lie in 1..{n_fft} (n_fft), got {win_length}")
    if window is None:
        window = _like(np.ones(length, like.real.dtype), like)
    if tuple(window.shape) != (length,):
        raise ShapeError(f"{op}: expected a window of shape {(length,)}, got {tuple(window.shape)}")
    left = (n_fft - length) // 2
    return pad(window, ((left, n_fft - length - left),)) if length < n_fft else window


def stft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    *,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
) -> Any:
    """The spectrum of each stretch of ``n_fft`` samples, ``hop_length`` (``n_fft // 4``) apart, times the window.

    Shapes: x (n,) or (batch, n) -> complex (..., frequencies, frames), ``n_fft // 2 + 1`` frequencies when ``onesided``, the
    default for real ``x``, else ``n_fft``. ``window`` (win_length,) stands in the middle of a stretch; with ``center`` the
    signal is padded so that frame t is centered at sample ``t * hop_length``. ``normalized`` divides by ``sqrt(n_fft)``.
    """
    hop = n_fft // 4 if hop_length is None else int(hop_length)
    if x.ndim not in (1, 2):
        raise ShapeError(f"stft: expected (n,) or (batch, n), got shape {tuple(x.shape)}")
    if hop < 1 or n_fft < 1:
        raise ShapeError(f"stft: n_fft and hop_length must be positive, got {n_fft} and {hop}")
    window = _window(window, n_fft, win_length, "stft", x)
    if center:
        x = pad(x, ((0, 0),) * (x.ndim - 1) + ((n_fft // 2, n_fft // 2),), mode=pad_mode)
    if x.shape[-1] < n_fft:
        raise ShapeError(f"stft: {x.shape[-1]} samples are fewer than n_fft={n_fft}")
    frames = sliding_windows(x, n_fft, -1, hop) * window
    if onesided is None:
        onesided = frames.dtype.kind != "c"
    norm = "ortho" if normalized else "backward"
    return swapaxes((rfft if onesided else fft)(frames, axis=-1, norm=norm), -1, -2)


def istft(
    x: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    *,
    center: bool = True,
    normalized: bool = False,
    onesided: bool = True,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """The signal whose :func:`stft` is nearest to ``x`` in the least-squares sense (Griffin and Lim 1984).

    Shapes: x (..., frequencies, frames) -> (..., n); at most one batch axis. The options are those that made ``x``; the squares
    of the windows must not add up to 0 anywhere. ``length`` cuts the result or fills it up with zeros.
    """
    hop = n_fft // 4 if hop_length is None else int(hop_length)
    if return_complex and onesided:
        raise ShapeError("istft: a complex signal needs all frequencies", hint="onesided=False")
    wanted = n_fft // 2 + 1 if onesided else n_fft
    if x.ndim not in (2, 3) or x.shape[-2] != wanted:
        raise ShapeError(f"istft: expected (..., {wanted} frequencies, frames), got shape {tuple(x.shape)}")
    window = _window(window, n_fft, win_length, "istft", x)
    norm = "ortho" if normalized else "backward"
    spectrum = swapaxes(x, -1, -2)
    if return_complex:
        frames = ifft(spectrum, axis=-1, norm=norm)
    else:  # a real signal is told by half of its frequencies
        frames = irfft(spectrum[..., : n_fft // 2 + 1], n_fft, axis=-1, norm=norm)
    count = x.shape[-1]
    total = n_fft + hop * (count - 1)
    signal = _overlapped(frames * window, hop, total)
    weight = _overlapped(broadcast_to(window * window, (count, n_fft)), hop, total)
    start = n_fft // 2 if center else 0
    stop = total - start if length is None else min(start + length, total)
    signal, weight = signal[..., start:stop], weight[start:stop]
    raw = _raw(weight)
    if float(backend.of(raw).to_numpy(abs(raw)).min(initial=math.inf)) < 1e-11:
        raise ShapeError("istft: the squares of the windows add up to 0 somewhere", hint="a smaller hop_length")
    out = signal / weight
    missing = 0 if length is None else length - out.shape[-1]
    return pad(out, ((0, 0),) * (out.ndim - 1) + ((0, missing),)) if missing > 0 else out


def _overlapped(frames: Any, hop: int, total: int) -> Any:
    """Frames (..., count, size) added up ``hop`` apart: (..., total)."""
    count, size = frames.shape[-2:]
    places = (np.arange(count)[:, None] * hop + np.arange(size)).reshape(-1)
    head = tuple(frames.shape[:-2])
    flat = reshape(frames, (*head, count * size))
    index = _like(np.broadcast_to(places, flat.shape).copy(), frames)
    return scatter_along_axis(flat, index, shape=(*head, total), axis=len(head))


__all__ = ["istft", "stft"]
