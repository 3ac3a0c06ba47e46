"""A row for each component of this distribution: how to make it, and what to give it.

Those that have a table in the tests of their package take their row from there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optimizer_rows as optimizer_tests
import test_gradient_processors as processor_tests
import test_layer_table as grid_tests
import test_pass_regularizers as pass_tests
import test_scheduler_table as scheduler_tests
import test_sequence_components as sequence_tests
import test_weight_regularizers as weight_tests
from loss_rows import ROWS as LOSSES
from loss_rows import prepared

import lunar_core as lc
from lunar_core.testing.conformance.checks import Key, Row

L, A = lc.layers, lc.activations
RNG = np.random.default_rng(11)
X = RNG.normal(size=(5, 4))
LINE, IMAGE = RNG.normal(size=(3, 4, 9)), RNG.normal(size=(2, 4, 8, 6))
DEFINITION = "definition"

ROWS: dict[Key, Row] = {}


def add(kind: str, rows: dict[str, Row]) -> None:
    ROWS.update({(kind, name): row for name, row in rows.items()})


# -- activations ------------------------------------------------------------------------------------------------------

add("activation", {
    "celu": Row(fields={"alpha": 0.7}),
    "elu": Row(fields={"alpha": 0.7}),
    "geglu": Row(),
    "gelu": Row(fields={"approximate": "tanh"}),
    "glu": Row(),
    "hardshrink": Row(),
    "hardsigmoid": Row(),
    "hardswish": Row(),
    "hardtanh": Row(),
    "leaky_relu": Row(fields={"negative_slope": 0.2}),
    "linear": Row(source=DEFINITION),
    "log_sigmoid": Row(source=DEFINITION),
    "log_softmax": Row(source=DEFINITION),
    "maxout": Row(),
    "mish": Row(),
    "prelu": Row(),
    "reglu": Row(),
    "relu": Row(),
    "relu6": Row(),
    "rrelu": Row(random=True),
    "selu": Row(),
    "sigmoid": Row(source=DEFINITION),
    "silu": Row(),
    "softmax": Row(source=DEFINITION),
    "softmin": Row(source=DEFINITION),
    "softplus": Row(),
    "softshrink": Row(),
    "softsign": Row(),
    "sparsemax": Row(),
    "swiglu": Row(),
    "tanh": Row(source=DEFINITION),
    "tanhshrink": Row(source=DEFINITION),
    "threshold": Row(fields={"threshold": 0.1, "value": 0.5}),
})  # fmt: skip

# -- layers -----------------------------------------------------------------------------------------------------------

ELEMENTARY = {
    "adaptive_avg_pool1d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool3d", "add", "avg_pool1d",
    "avg_pool3d", "concat", "global_max_pool", "identity", "lp_pool1d", "lp_pool3d", "max_pool1d", "max_pool3d",
}  # fmt: skip
DRAWING = grid_tests.RANDOM | {"bottleneck", "convnext_block", "wide_block"}
add("layer", {
    name: Row(
        make=make,
        inputs=(RNG.normal(size=shape),) * (2 if name in grid_tests.SEVERAL else 1),
        random=name in DRAWING,
        skip={"gradient": "a dead channel lies at ReLU6's kink"} if name == "inverted_residual" else {},
        source=DEFINITION if name in ELEMENTARY else "",
    )
    for name, (make, shape) in grid_tests.ROWS.items()
})  # fmt: skip
INDICES = {"dtype": "takes indices, has the dtype of its weights"}
SEQUENCE_SKIPS: dict[str, dict[str, str]] = {
    "embedding": INDICES,
    "embedding_bag": INDICES,
    "alibi": {"gradient": "depends on the shapes alone"},
}
add("layer", {
    name: Row(
        make=make,
        inputs=tuple(inputs),
        skip=SEQUENCE_SKIPS.get(name, {}),
    )
    for name, (make, inputs) in sequence_tests.TABLE.items() if " " not in name
})  # fmt: skip


def pooled(layer: Any, x: Any) -> Any:
    return layer(*lc.layers.MaxPool2D(2, return_indices=True)(x))


def listed(layers: Any, x: Any) -> Any:
    for layer in layers.values() if hasattr(layers, "values") else layers:
        x = layer(x)
    return x


add("layer", {
    "dense": Row(fields={"out_features": 3}),
    "linear": Row(make=lambda: L.Linear(4, 3), skip={"dtype": "built at once, in the default dtype"}),
    "dropout": Row(fields={"p": 0.3}, random=True),
    "flatten": Row(inputs=(IMAGE,), source=DEFINITION),
    "lambda": Row(
        make=lambda: L.Lambda(lambda x: x * x), skip={"config": "a function is no plain data"}, source=DEFINITION
    ),
    "bilinear": Row(fields={"out_features": 3}, inputs=(X, X[:, :3])),
    "auxiliary_head": Row(make=lambda: L.AuxiliaryHead(L.Dense(3))),
    "layer_drop": Row(make=lambda: L.LayerDrop(L.Dense(4), L.Dense(4), p=0.3), random=True),
    "shake_shake": Row(make=L.ShakeShake, inputs=(X, X[::-1].copy()), random=True),
    "max_unpool2d": Row(fields={"kernel_size": 2}, inputs=(IMAGE,), call=pooled),
    "module_list": Row(make=lambda: L.ModuleList(L.Dense(3), L.Dense(2)), call=listed),
    "module_dict": Row(make=lambda: L.ModuleDict(a=L.Dense(3), b=L.Dense(2)), call=listed),
    "parallel": Row(make=lambda: L.Parallel(L.Dense(3), L.Dense(2)), source=DEFINITION),
    "residual": Row(make=lambda: L.Residual(L.Dense(4))),
    "sequential": Row(make=lambda: L.Sequential(L.Dense(3), A.Tanh(), L.Dense(2))),
    "shared_block": Row(make=lambda: L.SharedBlock(L.Dense(4), 2)),
})  # fmt: skip

# -- initializers -----------------------------------------------------------------------------------------------------

add("initializer", {
    "auto": Row(),
    "constant": Row(fields={"value": 0.3}, source=DEFINITION),
    "dirac": Row(inputs=(np.zeros((4, 4, 3, 3)),)),
    "he_normal": Row(),
    "he_uniform": Row(),
    "identity": Row(),
    "lecun_normal": Row(),
    "lecun_uniform": Row(),
    "normal": Row(fields={"std": 0.3}),
    "ones": Row(source=DEFINITION),
    "orthogonal": Row(),
    "sparse": Row(fields={"sparsity": 0.3}),
    "truncated_normal": Row(),
    "uniform": Row(),
    "variance_scaling": Row(fields={"scale": 2.0}),
    "xavier_normal": Row(),
    "xavier_uniform": Row(),
    "zeros": Row(source=DEFINITION),
})  # fmt: skip

# -- losses -----------------------------------------------------------------------------------------------------------


def loss_call(name: str) -> Any:
    return lambda loss, pred, target: loss(prepared(name, pred), target)


LOSS_SKIPS: dict[str, dict[str, str]] = {
    "ciou": {"gradient": "holds part of itself fixed, as its paper does"},
    "perceptual": {"config": "holds a function"},
    "masked_reconstruction": {"gradient": "the mask is not to be differentiated; checked in its own tests"},
    "gradient_penalty": {"gradient": "takes the critic's graph; checked in its own tests"},
}
add("loss", {
    name: Row(
        make=row.make,
        inputs=(row.pred, row.target),
        call=loss_call(name),
        skip=LOSS_SKIPS.get(name, {}),
        source=DEFINITION if name in ("mse", "composite", "softmax_cross_entropy") else "",
    )
    for name, row in LOSSES.items()
})  # fmt: skip

# -- metrics ----------------------------------------------------------------------------------------------------------

LOGITS, CLASSES = RNG.normal(size=(12, 3)), np.arange(12) % 3
SCORES, TRUTH = RNG.random(12), np.arange(12) % 2
VALUES = RNG.random((12, 2)) + 0.5
PICTURES = RNG.random((2, 1, 16, 16))


def of_words(metric: Any, pred: Any, target: Any) -> None:
    metric.update(["the cat sat on the mat", "a dog ran"], ["the cat lay on the mat", "the dog ran home"])


CLASSIFIED = ("accuracy", "balanced_accuracy", "cohen_kappa", "matthews_corrcoef", "calibration_error", "perplexity")
COUNTED = ("precision", "recall", "f1", "fbeta", "iou", "dice", "confusion_matrix")
add("metric", {
    name: Row(inputs=(LOGITS, CLASSES), fields={"beta": 0.5} if name == "fbeta" else {}, source=DEFINITION)
    for name in (*CLASSIFIED, *COUNTED, "top_k_accuracy")
})  # fmt: skip
add("metric", {name: Row(inputs=(SCORES, TRUTH)) for name in ("auroc", "average_precision")})
add("metric", {
    name: Row(inputs=(VALUES, VALUES[::-1].copy()), source=DEFINITION)
    for name in ("mae", "mse", "rmse", "r2", "explained_variance", "mape")
})  # fmt: skip
add("metric", {name: Row(inputs=(PICTURES, PICTURES * 0.9)) for name in ("psnr", "ssim")})

TEXTS = {"device": "looks at text, which lies on no device"}
add(
    "metric",
    {name: Row(call=of_words, inputs=(None, None), skip=TEXTS) for name in ("bleu", "rouge_l", "word_error_rate")},
)
BOXES = {
    "boxes": RNG.random((4, 2)).repeat(2, axis=1)[:, [0, 2, 1, 3]] * 10 + np.array([0.0, 0, 30, 40]),
    "scores": RNG.random(4),
    "labels": np.array([0, 1, 0, 1]),
}


def of_boxes(metric: Any, pred: Any, target: Any) -> None:
    metric.update([BOXES], [{"boxes": BOXES["boxes"] + 1.0, "labels": BOXES["labels"]}])


FEATURES = RNG.normal(size=(12, 3))
add("metric", {
    "mean_average_precision": Row(call=of_boxes, inputs=(None, None), skip={"device": "its matching runs on the host"}),
    "fid": Row(inputs=(FEATURES, FEATURES[::-1] * 1.1 + 0.2)),
    "inception_score": Row(inputs=(FEATURES, FEATURES)),
})  # fmt: skip

# -- optimizers -------------------------------------------------------------------------------------------------------

add("optimizer", {
    lc.registry.component_of(optimizer_tests.load(module, cls)).name: Row(fields=fields)
    for module, cls, fields in optimizer_tests.ROWS
})  # fmt: skip


def wrapped(params: Any) -> tuple[Any, ...]:
    return (lc.optimizers.SGD(params, lr=0.05),)


add("optimizer", {
    "lookahead": Row(fields={"k": 2}, args=wrapped),
    "sam": Row(fields={"rho": 0.1}, args=wrapped),
    "swa": Row(fields={"start": 1}, args=wrapped),
    "ema": Row(fields={"decay": 0.9}, args=wrapped),
    "cautious": Row(args=wrapped),
    "gradient_centralization": Row(args=wrapped),
    "adaptive_gradient_clipping": Row(args=wrapped),
    "maml": Row(fields={"inner_lr": 0.02}, args=wrapped),
    "hybrid": Row(
        fields={"rules": {"a": {"@optimizer": "sgd", "lr": 0.05}}, "rest": {"@optimizer": "adam", "lr": 0.05}},
        source=DEFINITION,
    ),
})  # fmt: skip

# -- schedulers -------------------------------------------------------------------------------------------------------

FUNCTIONS = {"config": "a function is no plain data"}
GROUPED = dict.fromkeys(("repeats", "state"), "gives each group its own schedule; see its tests")
add("scheduler", {
    name: Row(
        make=make,
        skip=FUNCTIONS if name in ("lambda", "multiplicative") else GROUPED if name == "per_layer" else {},
        source=DEFINITION if name in ("cosine_min", "flat_then_anneal", "per_layer", "time_based") else "",
    )
    for name, make in scheduler_tests.ROWS.items()
})  # fmt: skip

# -- regularizers -----------------------------------------------------------------------------------------------------

MODELS = {
    "kl_to_prior": (("w_mu", "w_rho"), ((3, 3), (3, 3))),
    "r1": (("first", "last"), ((4, 3), (1, 4))),  # one score an example
}
add("regularizer", {
    name: Row(
        make=lambda r=r: r,
        inputs=MODELS.get(name),
        skip={"gradient": "adds nothing to the loss"} if name == "drop_connect" else {},
    )
    for name, r in {**weight_tests.everything(), **pass_tests.PASSES}.items() if "," not in name
    and " " not in name
})  # fmt: skip

# -- the rest ---------------------------------------------------------------------------------------------------------

add("parametrization", {name: Row() for name in ("weight_norm", "spectral_norm", "orthogonal", "symmetric")})
add("parametrization", {"low_rank": Row(fields={"rank": 2})})
add("gradient_processor", {
    name: Row(make=make, source=DEFINITION if name in ("accumulate", "drop_nonfinite") else "")
    for name, make in processor_tests.ROWS.items()
})  # fmt: skip
CALLBACKS: dict[str, dict[str, Any]] = {
    "activation_stats": {}, "checkpoint": {"monitor": None}, "csv_logger": {"path": "figures.csv"}, "cutmix": {},
    "diagnosis": {}, "early_stopping": {"patience": 2}, "flight_recorder": {}, "freeze": {"what": ("body",)},
    "gradient_check": {}, "gradient_stats": {}, "gradual_unfreeze": {}, "history": {},
    "history_plot": {"name": "run.png"}, "json_logger": {}, "label_smoothing": {}, "lr_monitor": {}, "memory": {},
    "mixup": {}, "profiler": {}, "progress": {"mode": "off"}, "run_directory": {"path": "run"}, "sqlite_logger": {},
    "tensorboard_logger": {}, "terminate_on_nan": {}, "throughput": {}, "time_limit": {"limit": 60.0}, "timer": {},
    "weight_stats": {},
}  # fmt: skip
add("callback", {name: Row(fields=fields, source=DEFINITION) for name, fields in CALLBACKS.items()})
