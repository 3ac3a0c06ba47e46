"""ONNX operators of neural networks: convolution, pooling, normalisation, recurrence, resampling, losses."""

import numpy as np

from lunar_core import ops

from .spelling import Differs, NotHere, ints, item, tensor, text

# -- windows -----------------------------------------------------------------------------------------------------------


def padding(size, kernel, strides, dilations, pads, auto_pad):
    """ONNX's padding as a pair an axis."""
    auto_pad = text(auto_pad)
    if auto_pad.startswith("SAME"):
        pairs = []
        for n, k, s, d in zip(size, kernel, strides, dilations):
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            small = total // 2
            pairs.append((small, total - small) if auto_pad == "SAME_UPPER" else (total - small, small))
        return tuple(pairs)
    rank = len(size)
    return tuple((pads[i], pads[i + rank]) for i in range(rank)) if pads and auto_pad == "NOTSET" else ((0, 0),) * rank


def one(value):
    """For one axis ours takes the number itself."""
    return value[0] if len(value) == 1 else tuple(value)


def fits(pairs, kernel):
    """Whether the operator takes the border: one width for both sides, for pooling at most half of the kernel."""
    return all(a == b and (kernel is None or 2 * a <= k) for (a, b), k in zip(pairs, kernel or pairs))


def padded(x, pairs, value, kernel=None):
    """Other borders are laid around first."""
    if fits(pairs, kernel):
        return x, one([a for a, _ in pairs])
    return ops.pad(x, [(0, 0), (0, 0), *pairs], value=value), one([0] * len(pairs))


def geometry(x, kernel_shape, strides, dilations, pads, auto_pad):
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    return strides, dilations, padding(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)


def conv(x, w, b=None, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None):
    strides, dilations, pairs = geometry(x, w.shape[2:], strides, dilations, pads, auto_pad)
    x, pad = padded(x, pairs, 0.0)
    function = getattr(ops, f"conv{x.ndim - 2}d")
    return function(x, w, b, stride=one(strides), padding=pad, dilation=one(dilations), groups=group)


def conv_transpose(
    x, w, b=None, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, output_padding=None, output_shape=None,
    pads=None, strides=None,
):  # fmt: skip
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    extra = output_padding or [0] * rank
    full = [s * (n - 1) + (k - 1) * d + 1 for n, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations)]
    if output_shape is not None or text(auto_pad).startswith("SAME"):
        wanted = output_shape or [n * s for n, s in zip(x.shape[2:], strides)]
        totals = [f + e - n for f, e, n in zip(full, extra, wanted)]
        upper = text(auto_pad) != "SAME_UPPER" if output_shape is not None else text(auto_pad) == "SAME_LOWER"
        pairs = [(t - t // 2, t // 2) if upper else (t // 2, t - t // 2) for t in totals]
    else:
        pairs = [(pads[i], pads[i + rank]) for i in range(rank)] if pads else [(0, 0)] * rank
    function = getattr(ops, f"conv_transpose{rank}d")
    out = function(x, w, b, stride=one(strides), dilation=one(dilations), groups=group)  # whole, then cut to size
    for axis, ((before, after), e, n) in enumerate(zip(pairs, extra, full)):
        out = ops.pad(out, [(0, max(e - after, 0)) if i == axis + 2 else (0, 0) for i in range(out.ndim)])
        if b is not None and e > after:
            raise NotHere("the bias belongs to rows beyond the last window too")
        out = out[(slice(None),) * (axis + 2) + (slice(before, n + e - after),)]
    return out


def max_pool(
    x,
    auto_pad="NOTSET",
    ceil_mode=0,
    dilations=None,
    kernel_shape=None,
    pads=None,
    storage_order=0,
    strides=None,
    outputs=1,
):
    if x.dtype.kind in "iu":
        raise NotHere("pooling of integers")
    strides, dilations, pairs = geometry(x, kernel_shape, strides, dilations, pads, auto_pad)
    if outputs > 1 and (not fits(pairs, kernel_shape) or storage_order):
        raise NotHere("places are those in row order of the image without its border")
    x, pad = padded(x, pairs, -np.inf, kernel_shape)
    out = getattr(ops, f"max_pool{x.ndim - 2}d")(
        x, one(kernel_shape), stride=one(strides), padding=pad, dilation=one(dilations), ceil_mode=bool(ceil_mode),
        return_indices=outputs > 1,
    )  # fmt: skip
    if outputs == 1:
        return out
    values, places = out  # ours count within one channel, ONNX's over the whole array
    n, c = x.shape[:2]
    channels = tensor(np.arange(n * c).reshape((n, c) + (1,) * (x.ndim - 2)))
    return values, (places + channels * int(np.prod(x.shape[2:]))).astype(np.int64)


def average_pool(
    x, auto_pad="NOTSET", ceil_mode=0, count_include_pad=0, dilations=None, kernel_shape=None, pads=None, strides=None
):
    strides, dilations, pairs = geometry(x, kernel_shape, strides, dilations, pads, auto_pad)
    if any(d != 1 for d in dilations):
        raise NotHere("averages have no dilation")
    if not fits(pairs, kernel_shape):
        if not count_include_pad:
            ones = tensor(np.ones(x.shape, x.dtype))  # the share of the windows that is not border
            ones = average_pool(ones, auto_pad, ceil_mode, 1, dilations, kernel_shape, pads, strides)
            return average_pool(x, auto_pad, ceil_mode, 1, dilations, kernel_shape, pads, strides) / ones
        x, pad = padded(x, pairs, 0.0, kernel_shape)
    else:
        pad = one([a for a, _ in pairs])
    return getattr(ops, f"avg_pool{x.ndim - 2}d")(
        x, one(kernel_shape), stride=one(strides), padding=pad, ceil_mode=bool(ceil_mode),
        count_include_pad=bool(count_include_pad),
    )  # fmt: skip


def lp_pool(x, auto_pad="NOTSET", ceil_mode=0, dilations=None, kernel_shape=None, p=2, pads=None, strides=None):
    strides, dilations, pairs = geometry(x, kernel_shape, strides, dilations, pads, auto_pad)
    if any(d != 1 for d in dilations):
        raise NotHere("sums of powers have no dilation")
    x = ops.pad(ops.abs(x), [(0, 0), (0, 0), *pairs])
    return getattr(ops, f"lp_pool{x.ndim - 2}d")(
        x, p, one(kernel_shape), stride=one(strides), ceil_mode=bool(ceil_mode)
    )


def max_unpool(x, places, output_shape=None, kernel_shape=None, pads=None, strides=None):
    rank = x.ndim - 2
    strides, pads = strides or [1] * rank, pads or [0] * (2 * rank)
    size = [
        (n - 1) * s + k - pads[i] - pads[i + rank]
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape))
    ]
    whole = int(np.prod(size))
    inner = places % whole  # ONNX counts over the whole array, ours within one channel
    if output_shape is not None:  # places are those of the smaller image; the larger one holds it in its corner
        wanted = ints(output_shape)[2:]
        if rank != 2:
            raise NotHere("a larger image of more than two axes")
        inner, size = inner // size[-1] * wanted[-1] + inner % size[-1], wanted
    return getattr(ops, f"max_unpool{rank}d")(x, inner, one(kernel_shape), stride=one(strides), output_size=tuple(size))


def col2im(x, image_shape, block_shape, dilations=None, pads=None, strides=None):
    size, block = ints(image_shape), ints(block_shape)
    rank = len(size)
    if rank != 2:
        raise NotHere("fold takes images of two axes")
    pads = pads or [0] * 4
    if pads[:2] != pads[2:]:
        raise NotHere("fold takes one width for both sides")
    return ops.fold(
        x,
        tuple(size),
        tuple(block),
        dilation=tuple(dilations or [1, 1]),
        padding=tuple(pads[:2]),
        stride=tuple(strides or [1, 1]),
    )


def global_pool(function):
    return lambda x: function(x, axis=tuple(range(2, x.ndim)), keepdims=True)


# -- normalisation -----------------------------------------------------------------------------------------------------


def batch_norm(x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, training_mode=0):
    if not training_mode:
        return ops.batch_norm_inference(x, mean, var, scale, bias, eps=epsilon)
    out, batch_mean, batch_var = ops.batch_norm(x, scale, bias, eps=epsilon)
    return out, mean * momentum + batch_mean * (1 - momentum), var * momentum + batch_var * (1 - momentum)


def layer_norm(x, scale, bias=None, axis=-1, epsilon=1e-5, stash_type=1, outputs=1):
    count = -axis if axis < 0 else x.ndim - axis
    out = ops.layer_norm(x, scale, bias, eps=epsilon, axes=count)
    if outputs == 1:
        return out
    over = tuple(range(x.ndim - count, x.ndim))
    return (out, ops.mean(x, over, True), 1 / ops.sqrt(ops.var(x, over, True) + epsilon))[:outputs]


def rms_norm(x, scale, axis=-1, epsilon=1e-5, stash_type=1):
    return ops.rms_norm(x, scale, eps=epsilon, axes=-axis if axis < 0 else x.ndim - axis)


def group_norm(x, scale, bias, epsilon=1e-5, num_groups=1, stash_type=1):
    return ops.group_norm(x, num_groups, scale, bias, epsilon)


def lrn(x, alpha=0.0001, beta=0.75, bias=1.0, size=1):
    return ops.local_response_norm(x, size, alpha, beta, bias)


# -- resampling, recurrence, losses ------------------------------------------------------------------------------------


def grid_sample(x, grid, align_corners=0, mode="linear", padding_mode="zeros"):
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(text(mode), text(mode))
    return ops.grid_sample(x, grid, mode, text(padding_mode), align_corners=bool(align_corners))


def attention(
    q, k, v, mask=None, past_k=None, past_v=None, lengths=None, is_causal=0, q_num_heads=None, kv_num_heads=None, scale=None,
    softcap=0.0, qk_matmul_output_mode=0, softmax_precision=None, left_window_size=-1, right_window_size=-1, outputs=1,
):  # fmt: skip
    """(batch, heads, length, width), or (batch, length, heads * width) with the number of heads beside."""
    if softcap or lengths is not None or outputs > 3:
        raise NotHere("scores that are capped or given back, and lengths of the keys")
    if is_causal and past_k is not None:
        raise NotHere("queries whose places begin behind a cache")
    flat = q.ndim == 3

    def heads(x, count):
        return ops.swapaxes(ops.reshape(x, (*x.shape[:2], count, x.shape[2] // count)), 1, 2) if flat else x

    q, k, v = heads(q, q_num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    if past_k is not None:
        k, v = ops.concat([past_k, k], axis=2), ops.concat([past_v, v], axis=2)
    if mask is not None and mask.ndim == 1:
        mask = ops.reshape(mask, (1, mask.shape[0]))
    window = None if left_window_size < 0 and right_window_size < 0 else (left_window_size, right_window_size)
    out = ops.scaled_dot_product_attention(
        q, k, v, mask, is_causal=bool(is_causal), scale=scale, enable_gqa=q.shape[1] != k.shape[1], window=window
    )
    if flat:
        out = ops.reshape(ops.swapaxes(out, 1, 2), (out.shape[0], out.shape[2], out.shape[1] * out.shape[3]))
    return (out, k, v)[:outputs]


RESIZE_MODES = {  # of ours: ONNX's mode, coordinates and nearest mode
    ("nearest", "asymmetric", "floor"): ("nearest", False), ("linear", "half_pixel", None): ("linear", False),
    ("nearest", "half_pixel", "round_prefer_ceil"): ("nearest-exact", False), ("linear", "align_corners", None): ("linear", True),
    ("cubic", "half_pixel", None): ("bicubic", False), ("cubic", "align_corners", None): ("bicubic", True),
}  # fmt: skip


def resize(
    x, roi=None, scales=None, sizes=None, mode="nearest", coordinate_transformation_mode="half_pixel",
    nearest_mode="round_prefer_floor", antialias=0, axes=None, cubic_coeff_a=-0.75, exclude_outside=0,
    keep_aspect_ratio_policy="stretch", extrapolation_value=0.0,
):  # fmt: skip
    mode, coordinates = text(mode), text(coordinate_transformation_mode)
    found = RESIZE_MODES.get((mode, coordinates, text(nearest_mode) if mode == "nearest" else None))
    if (
        found is None
        or antialias
        or exclude_outside
        or text(keep_aspect_ratio_policy) != "stretch"
        or cubic_coeff_a != -0.75
    ):
        raise NotHere(f"{mode} resizing with {coordinates} coordinates, or with antialiasing or kept aspect")
    rank = x.ndim - 2
    name = {"linear": ("linear", "bilinear", "trilinear")[rank - 1]}.get(found[0], found[0])
    if scales is not None:
        whole = all(float(n * s).is_integer() for n, s in zip(x.shape, scales.data.tolist()))
        if found[1] and not whole:
            raise Differs("the far corner is that of the last whole pixel, as in PyTorch")
        return ops.interpolate(x, scale_factor=tuple(scales.data.tolist()[2:]), mode=name, align_corners=found[1])
    return ops.interpolate(x, size=tuple(ints(sizes)[2:]), mode=name, align_corners=found[1])


def upsample(x, scales, mode="nearest"):
    return ops.interpolate(x, scale_factor=tuple(scales.data.tolist()[2:]), mode=text(mode))


def recurrent(gates, order, run):
    """A recurrent layer: ONNX holds the directions in one array and the gates in another order."""

    def spelled(
        x, w, r, b=None, lengths=None, h0=None, c0=None, peephole=None, direction="forward", hidden_size=None, layout=0,
        outputs=(), **others,
    ):  # fmt: skip
        if peephole is not None:
            raise NotHere("there are no peepholes")
        if others:
            raise NotHere(f"there is no {', '.join(others)}")
        x = x if layout else ops.swapaxes(x, 0, 1)
        n, hidden = x.shape[0], r.shape[-1]
        zero = tensor(np.zeros((n, hidden), x.dtype))
        states, sequences, cells = [], [], []
        for d in range(w.shape[0]):
            backwards = text(direction) == "reverse" or d == 1
            sides = ops.split(b[d], 2) if b is not None else (None, None)
            weights = [reordered(a, order, gates) for a in (w[d], r[d], *sides)]
            first = [zero if s is None else (s[:, d] if layout else s[d]) for s in ((h0, c0) if gates == 4 else (h0,))]
            sequence, *last = run(x, first, weights, lengths, backwards)
            sequences.append(sequence)
            states.append(last[0])
            cells.append(last[-1])
        y = ops.stack(sequences, axis=2 if layout else 0)  # (batch, time, directions, hidden)
        if not layout:
            y = ops.transpose(y, (2, 0, 1, 3))
        stacked = [ops.stack(s, axis=1 if layout else 0) for s in (states, cells)]
        return (y, *stacked)

    return spelled


def reordered(a, order, gates):
    return None if a is None else ops.concat([ops.split(a, gates, axis=0)[i] for i in order], axis=0)


def run_lstm(x, first, weights, lengths, backwards):
    return ops.lstm(x, *first, weights, lengths=lengths, reverse=backwards)


def run_rnn(x, first, weights, lengths, backwards):
    return ops.rnn(x, *first, weights, lengths=lengths, reverse=backwards)


def softmax_cross_entropy(x, target, weight=None, ignore_index=None, reduction="mean", outputs=1):
    losses = ops.cross_entropy(x, target, weight, ignore_index=ignore_index)
    if text(reduction) != "none":
        total = ops.sum(losses)
        if text(reduction) == "mean":
            counted = tensor(np.ones(target.shape, bool)) if ignore_index is None else target != ignore_index
            shares = counted.astype(x.dtype)
            if weight is not None:
                shares = shares * ops.take(weight, ops.where(counted, target, 0), axis=0)
            total = total / ops.sum(shares)
        losses = total
    return losses if outputs == 1 else (losses, ops.log_softmax(x, axis=1))


def dropout(x, ratio=None, training=None, seed=None, outputs=1, **old):
    if item(training, False) and item(ratio, 0.5):
        raise NotHere("the masks of dropout are drawn by our own generator")
    out = ops.dropout(x, 0.0, np.random.default_rng(0))
    return out if outputs == 1 else (out, tensor(np.ones(x.shape, bool)))


OPERATORS = {
    "Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": max_pool, "AveragePool": average_pool, "LpPool": lp_pool,
    "MaxUnpool": max_unpool, "Col2Im": col2im, "GlobalAveragePool": global_pool(ops.mean), "GlobalMaxPool": global_pool(ops.max),
    "BatchNormalization": batch_norm, "LayerNormalization": layer_norm, "RMSNormalization": rms_norm, "LRN": lrn,
    "GroupNormalization": group_norm,
    "InstanceNormalization": lambda x, scale, bias, epsilon=1e-5: ops.instance_norm(x, scale, bias, epsilon),
    "GridSample": grid_sample, "Attention": attention, "Resize": resize, "Upsample": upsample, "Dropout": dropout,
    "AffineGrid": lambda theta, size, align_corners=0: ops.affine_grid(theta, tuple(ints(size)), bool(align_corners)),
    "LSTM": recurrent(4, (0, 2, 3, 1), run_lstm), "RNN": recurrent(1, (0,), run_rnn),
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
}  # fmt: skip
