"""Spellings of activations, normalisation, attention, embeddings and losses on logits."""

from lunar_core import ops

from .spelling import Differs, Leading, one_axis, same, typed

# -- activations -------------------------------------------------------------------------------------------------------


def activation(name):
    return lambda x, inplace=False, **kwargs: getattr(ops, name)(x, **kwargs)


def softmax(function, sign=1):
    def spelled(x, dim, *, dtype=None):
        x = typed(x, dtype)
        return function(x if sign > 0 else -x, axis=one_axis(x, dim))

    return spelled


def hardtanh(x, min_val=-1.0, max_val=1.0, inplace=False):
    if not min_val < max_val:
        raise Differs("the bounds of hardtanh must differ")
    return ops.hardtanh(x, min_val, max_val)


def prelu(x, weight):
    if weight.ndim > x.ndim:
        raise Differs("a number beside a vector of slopes gives a vector")
    if weight.ndim == 1 and x.ndim > 2:  # one slope for each channel, which ours finds by broadcasting
        weight = ops.reshape(weight, (weight.shape[0], *(1,) * (x.ndim - 2)))
    return ops.prelu(x, weight)


def hardshrink(x, lambd=0.5):
    if lambd < 0:
        raise Differs("lambd must not be negative")
    return ops.hardshrink(x, lambd)


# -- normalisation -----------------------------------------------------------------------------------------------------


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """The moving averages belong to the layer."""
    if x.ndim < 2:
        raise Differs("batch_norm needs an axis of samples and one of channels")
    if training:
        return ops.batch_norm(x, weight, bias, eps=eps)[0]
    return ops.batch_norm_inference(x, mean, var, weight, bias, eps=eps)


def native_batch_norm(x, weight, bias, mean, var, training, momentum, eps):
    return Leading(batch_norm(x, mean, var, weight, bias, training, momentum, eps))


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    if weight is None and bias is not None:
        raise Differs("a bias comes with a weight")
    return ops.layer_norm(x, weight, bias, eps=eps, axes=len(shape))


def native_layer_norm(x, shape, weight, bias, eps):
    return Leading(layer_norm(x, shape, weight, bias, eps))


def rms_norm(x, shape, weight=None, eps=None):
    if eps is not None and eps < 0:
        raise Differs("eps must not be negative")
    return ops.rms_norm(x, weight, eps=eps, axes=len(shape))


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    return ops.group_norm(x, groups, weight, bias, eps)


def instance_norm(
    x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    if not use_input_stats:
        raise Differs("stored statistics are batch_norm_inference's")
    return ops.instance_norm(x, weight, bias, eps)


# -- attention and embeddings ------------------------------------------------------------------------------------------


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if dropout_p:
        raise Differs("the masks of dropout are drawn by our own generator")
    return ops.scaled_dot_product_attention(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )


def embedding_bag(
    weight, indices, offsets=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean", sparse=False,
    per_sample_weights=None, include_last_offset=False, padding_idx=None,
):  # fmt: skip
    if max_norm is not None or scale_grad_by_freq:
        raise Differs("rows of bounded length and gradients by frequency are a layer's matter")
    return ops.embedding_bag(
        indices, weight, offsets, mode, per_sample_weights, padding_idx, include_last_offset=include_last_offset
    )


# -- losses and distances ----------------------------------------------------------------------------------------------


def reduced(values, reduction):
    return values if reduction == "none" else getattr(ops, reduction)(values)


def cross_entropy(x, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    plain = weight is None and ignore_index == -100
    if reduction == "mean" and not (plain and target.dtype.kind in "iu"):
        raise Differs(
            "the op gives one value a sample; what a mean of weighted ones divides by is the loss component's"
        )
    values = ops.cross_entropy(x, target, weight, label_smoothing=label_smoothing, ignore_index=ignore_index)
    return reduced(values, reduction)


def bce_with_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    values = ops.bce_with_logits(x, target, pos_weight)
    return reduced(values if weight is None else values * weight, reduction)


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """Behind a log_softmax, which changes no value here: PyTorch's gradient is that of the loss together with one."""
    log_probs = ops.log_softmax(log_probs, axis=-1)
    return ops.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)


def cosine_similarity(x, y, dim=1, eps=1e-8):
    return ops.cosine_similarity(x, y, axis=one_axis(x, dim) if y.ndim == 0 else dim, eps=eps)


def pairwise_distance(x, y, p=2.0, eps=1e-6, keepdim=False):
    if p < 0:
        raise Differs("the order of a norm of differences must not be negative")
    return ops.pairwise_distance(x, y, p, eps, keepdim)


SPELLINGS = {
    **{f"nn.functional.{name}": activation(name) for name in
       "relu leaky_relu elu gelu selu celu mish silu relu6 hardswish hardsigmoid softsign tanhshrink softshrink".split()},
    "nn.functional.silu/complex": activation("silu"), "nn.functional.logsigmoid": same("log_sigmoid"),
    "nn.functional.hardtanh": hardtanh, "nn.functional.prelu": prelu,
    "nn.functional.hardshrink": hardshrink,
    "softmax": softmax(ops.softmax), "softmax/with_dtype": softmax(ops.softmax), "log_softmax": softmax(ops.log_softmax),
    "log_softmax/with_dtype": softmax(ops.log_softmax), "nn.functional.softmin": softmax(ops.softmax, -1),
    "nn.functional.softmin/with_dtype": softmax(ops.softmax, -1),
    "nn.functional.linear": same("linear"), "nn.functional.bilinear": same("bilinear"),
    "nn.functional.batch_norm": batch_norm, "native_batch_norm": native_batch_norm,
    "nn.functional.layer_norm": layer_norm, "native_layer_norm": native_layer_norm, "nn.functional.rms_norm": rms_norm,
    "nn.functional.group_norm": group_norm, "nn.functional.instance_norm": instance_norm,
    "nn.functional.local_response_norm": same("local_response_norm"),
    "nn.functional.scaled_dot_product_attention": attention, "nn.functional.embedding_bag": embedding_bag,
    "nn.functional.cross_entropy": cross_entropy, "nn.functional.binary_cross_entropy_with_logits": bce_with_logits,
    "nn.functional.ctc_loss": ctc_loss, "nn.functional.cosine_similarity": cosine_similarity,
    "nn.functional.pairwise_distance": pairwise_distance,
}  # fmt: skip
