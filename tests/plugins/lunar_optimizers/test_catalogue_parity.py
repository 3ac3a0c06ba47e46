"""Trajectories in float64 against PyTorch, optax and pytorch_optimizer. A new optimizer is a row of ``CASES``."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import numpy as np
import pytest

import lunar_core as lc
import lunar_optimizers

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.parity

SHAPES = [(4, 3), (7,)]
STEPS = 30
# GaLore's oracle decomposes in single precision, Ranger21's normalises a gradient a second time for the momentum.
LOOSE = {"GaLore": 1e-6, "Ranger21": 1e-6}


class ByTorch:
    """An optimizer of ``torch.optim`` or pytorch_optimizer on twins of the parameters."""

    def __init__(self, package, name, arrays, kwargs):
        self.twins = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
        groups = [{"params": self.twins, **kwargs.pop("group", {})}]
        self.optimizer = getattr(importlib.import_module(package), name)(groups, **kwargs)

    def step(self, gradients):
        for twin, g in zip(self.twins, gradients):
            twin.grad = torch.tensor(g)
        self.optimizer.step()
        return [twin.detach().numpy() for twin in self.twins]


class ByOptax:
    """A gradient transformation of optax, in double precision."""

    def __init__(self, package, name, arrays, kwargs):
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        self.params = [jax.numpy.asarray(a) for a in arrays]
        rate = kwargs.pop("lr")
        self.transform = getattr(importlib.import_module(package), name)(rate, **kwargs)
        self.state = self.transform.init(self.params)

    def step(self, gradients):
        import jax.numpy as jnp
        import optax

        gradients = [jnp.asarray(g) for g in gradients]
        updates, self.state = self.transform.update(gradients, self.state, self.params)
        self.params = optax.apply_updates(self.params, updates)
        return [np.asarray(p) for p in self.params]


def of_torch(name, **kwargs):
    return ByTorch, "torch.optim", name, kwargs


def of_pytorch_optimizer(name, **kwargs):
    return ByTorch, "pytorch_optimizer", name, kwargs


def of_optax(name, **kwargs):
    module, _, name = f"optax.{name}".rpartition(".")
    return ByOptax, module, name, kwargs


def out_in(params):
    """Which of the parameters Muon takes, as matrices of (out, in), in the words of optax."""
    from optax.contrib import MuonDimensionNumbers

    return [MuonDimensionNumbers(1, 0) if getattr(p, "ndim", 0) == 2 else None for p in params]


# (module of lunar_optimizers, class, its hyperparameters, oracle): the hyperparameters of the oracle are ours unless
# it names others.
CASES = [
    ("nadam", "NAdam", {"lr": 0.01}, of_torch("NAdam")),
    ("nadam", "NAdam", {"lr": 0.05, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3}, of_torch("NAdam")),
    (
        "nadam",
        "NAdam",
        {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.1},
        of_torch("NAdam"),
    ),
    ("radam", "RAdam", {"lr": 0.02}, of_torch("RAdam")),
    ("radam", "RAdam", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-3}, of_torch("RAdam")),
    ("radam", "RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}, of_torch("RAdam")),
    ("adamax", "Adamax", {"lr": 0.02}, of_torch("Adamax")),
    ("adamax", "Adamax", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-2, "weight_decay": 0.1}, of_torch("Adamax")),
    ("rmsprop", "RMSprop", {"lr": 0.01}, of_torch("RMSprop")),
    ("rmsprop", "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}, of_torch("RMSprop")),
    ("rmsprop", "RMSprop", {"lr": 0.01, "momentum": 0.9, "centered": True}, of_torch("RMSprop")),
    ("rmsprop", "RMSprop", {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.1}, of_torch("RMSprop")),
    ("adagrad", "Adagrad", {"lr": 0.1}, of_torch("Adagrad")),
    (
        "adagrad",
        "Adagrad",
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3},
        of_torch("Adagrad"),
    ),
    ("adadelta", "Adadelta", {}, of_torch("Adadelta")),
    ("adadelta", "Adadelta", {"lr": 0.7, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}, of_torch("Adadelta")),
    ("rprop", "Rprop", {}, of_torch("Rprop")),
    ("rprop", "Rprop", {"lr": 0.1, "etas": (0.6, 1.5), "step_sizes": (0.05, 0.2)}, of_torch("Rprop")),
    ("asgd", "ASGD", {"lr": 0.05}, of_torch("ASGD")),
    ("asgd", "ASGD", {"lr": 0.05, "lambd": 0.1, "alpha": 0.5, "t0": 5, "weight_decay": 0.1}, of_torch("ASGD")),
    ("lion", "Lion", {"lr": 0.01}, of_optax("lion", lr=0.01, weight_decay=0.0)),
    (
        "lion",
        "Lion",
        {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.3},
        of_optax("lion", lr=0.01, b1=0.8, b2=0.95, weight_decay=0.3),
    ),
    ("lion", "Lion", {"lr": 0.01, "weight_decay": 0.3}, of_pytorch_optimizer("Lion")),
    ("signum", "Signum", {"lr": 0.01}, of_pytorch_optimizer("SignSGD")),
    ("signum", "Signum", {"lr": 0.01, "momentum": 0.0, "weight_decay": 0.1}, of_pytorch_optimizer("SignSGD")),
    ("yogi", "Yogi", {}, of_optax("yogi", lr=0.01)),
    ("yogi", "Yogi", {"lr": 0.1, "weight_decay": 0.1}, of_pytorch_optimizer("Yogi")),
    ("adabelief", "AdaBelief", {"lr": 0.02}, of_optax("adabelief", lr=0.02)),
    ("adabelief", "AdaBelief", {"lr": 0.02, "weight_decay": 0.1, "eps": 1e-3}, of_pytorch_optimizer("AdaBelief")),
    ("ademamix", "AdEMAMix", {"lr": 0.01}, of_optax("contrib.ademamix", lr=0.01)),
    (
        "ademamix",
        "AdEMAMix",
        {"lr": 0.01, "weight_decay": 0.1, "warmup": 20, "alpha": 8.0},
        of_pytorch_optimizer("AdEMAMix", lr=0.01, weight_decay=0.1, weight_decouple=True, t_alpha_beta3=20, alpha=8.0),
    ),
    ("laprop", "LaProp", {"lr": 0.01}, of_pytorch_optimizer("LaProp")),
    ("laprop", "LaProp", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}, of_pytorch_optimizer("LaProp")),
    ("madgrad", "MADGRAD", {}, of_pytorch_optimizer("MADGRAD", lr=0.01)),
    (
        "madgrad",
        "MADGRAD",
        {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.1},
        of_pytorch_optimizer("MADGRAD"),
    ),
    (
        "madgrad",
        "MADGRAD",
        {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
        of_pytorch_optimizer("MADGRAD", lr=0.05, weight_decay=0.1, weight_decouple=True),
    ),
    ("adan", "Adan", {"lr": 0.02}, of_pytorch_optimizer("Adan")),
    ("adan", "Adan", {"lr": 0.02, "betas": (0.9, 0.8, 0.95), "weight_decay": 0.1}, of_pytorch_optimizer("Adan")),
    ("adopt", "ADOPT", {"lr": 0.01}, of_optax("contrib.adopt", lr=0.01)),
    (
        "adopt",
        "ADOPT",
        {"lr": 0.01, "betas": (0.8, 0.99), "clip": False},
        of_optax("contrib.adopt", lr=0.01, b1=0.8, b2=0.99, use_clipping=False),
    ),
    ("qhadam", "QHAdam", {"lr": 0.01}, of_pytorch_optimizer("QHAdam", lr=0.01, betas=(0.995, 0.999), nus=(0.7, 1.0))),
    (
        "qhadam",
        "QHAdam",
        {"lr": 0.01, "nus": (1.0, 1.0), "weight_decay": 0.1},
        of_torch("Adam", lr=0.01, betas=(0.995, 0.999), weight_decay=0.1),
    ),
    (
        "adabound",
        "AdaBound",
        {"lr": 0.01, "weight_decay": 0.1, "gamma": 0.1, "final_lr": 0.05},
        of_pytorch_optimizer("AdaBound"),
    ),
    (
        "adabound",
        "AdaBound",
        {"lr": 0.01, "betas": (0.8, 0.9), "amsgrad": True},
        of_pytorch_optimizer("AdaBound", lr=0.01, betas=(0.8, 0.9), ams_bound=True),
    ),
    ("schedule_free_sgd", "ScheduleFreeSGD", {"lr": 0.1}, of_pytorch_optimizer("ScheduleFreeSGD")),
    (
        "schedule_free_sgd",
        "ScheduleFreeSGD",
        {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.1, "warmup": 10, "r": 0.5},
        of_pytorch_optimizer("ScheduleFreeSGD", lr=0.1, momentum=0.7, weight_decay=0.1, warmup_steps=10, r=0.5),
    ),
    ("schedule_free_adamw", "ScheduleFreeAdamW", {"lr": 0.02}, of_pytorch_optimizer("ScheduleFreeAdamW")),
    (
        "schedule_free_adamw",
        "ScheduleFreeAdamW",
        {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "warmup": 8, "weight_lr_power": 1.0},
        of_pytorch_optimizer(
            "ScheduleFreeAdamW", lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, warmup_steps=8, weight_lr_power=1.0
        ),
    ),
    ("adafactor", "Adafactor", {}, of_torch("Adafactor")),
    (
        "adafactor",
        "Adafactor",
        {"lr": 0.3, "beta2_decay": -0.5, "eps": 1e-4, "least_scale": 0.1, "clip": 1.1, "weight_decay": 0.1},
        of_torch("Adafactor", lr=0.3, beta2_decay=-0.5, eps=(1e-4, 0.1), d=1.1, weight_decay=0.1),
    ),
    ("muon", "Muon", {"lr": 0.02}, of_optax("contrib.muon", lr=0.02, muon_weight_dimension_numbers=out_in)),
    (
        "muon",
        "Muon",
        {"lr": 0.02, "nesterov": False, "iterations": 3, "weight_decay": 0.1, "match_rms": 0.2, "adam_lr": 0.05},
        of_optax(
            "contrib.muon",
            lr=0.02,
            nesterov=False,
            ns_steps=3,
            weight_decay=0.1,
            consistent_rms=0.2,
            adam_learning_rate=0.05,
            muon_weight_dimension_numbers=out_in,
        ),
    ),
    (
        "lars",
        "LARS",
        {"lr": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.1},
        of_optax("lars", lr=0.5, weight_decay=0.1, trust_coefficient=0.1),
    ),
    ("lars", "LARS", {"lr": 5.0, "nesterov": True}, of_optax("lars", lr=5.0, nesterov=True)),
    ("lamb", "LAMB", {"lr": 0.01, "weight_decay": 0.1}, of_optax("lamb", lr=0.01, weight_decay=0.1)),
    (
        "novograd",
        "NovoGrad",
        {"lr": 0.01, "weight_decay": 0.1},
        of_optax("novograd", lr=0.01, b1=0.95, b2=0.98, eps=1e-8, weight_decay=0.1),
    ),
    (
        "adanorm",
        "AdaNorm",
        {"lr": 0.01, "gamma": 0.8, "weight_decay": 0.1},
        of_pytorch_optimizer("AdaNorm", lr=0.01, betas=(0.9, 0.999), r=0.8, weight_decay=0.1),
    ),
    (
        "came",
        "CAME",
        {"lr": 0.01, "weight_decay": 0.1, "clip": 0.5},
        of_pytorch_optimizer("CAME", lr=0.01, weight_decay=0.1, clip_threshold=0.5),
    ),
    (
        "mars",
        "MARS",
        {"lr": 0.01, "weight_decay": 0.1, "gamma": 0.1},
        of_pytorch_optimizer("MARS", lr=0.01, weight_decay=0.1, gamma=0.1, optimize_1d=True),
    ),
    (
        "prodigy",
        "Prodigy",
        {"d0": 1e-2, "weight_decay": 0.1},
        of_optax("contrib.prodigy", lr=1.0, estim_lr0=1e-2, weight_decay=0.1),
    ),
    (
        "dadaptation",
        "DAdaptation",
        {"d0": 1e-2, "weight_decay": 0.1},
        of_optax("contrib.dadapt_adamw", lr=1.0, estim_lr0=1e-2, weight_decay=0.1),
    ),
    ("stable_adamw", "StableAdamW", {"lr": 0.02, "weight_decay": 0.1}, of_pytorch_optimizer("StableAdamW")),
    (
        "ranger",
        "Ranger",
        {"lr": 0.02, "weight_decay": 0.1},
        of_pytorch_optimizer(
            "Ranger", lr=0.02, weight_decay=0.1, betas=(0.95, 0.999), eps=1e-5, degenerated_to_sgd=True
        ),
    ),
    (
        "ranger",
        "Ranger",
        {"lr": 0.02, "betas": (0.9, 0.95), "k": 4, "alpha": 0.3},
        of_pytorch_optimizer("Ranger", lr=0.02, betas=(0.9, 0.95), k=4, alpha=0.3, degenerated_to_sgd=True),
    ),
    ("shampoo", "Shampoo", {"lr": 0.1, "weight_decay": 0.1}, of_pytorch_optimizer("Shampoo")),
    ("soap", "SOAP", {"lr": 0.02, "every": 100}, of_pytorch_optimizer("SOAP", lr=0.02, precondition_frequency=100)),
    (
        "galore",
        "GaLore",
        {"lr": 0.02, "rank": 2, "weight_decay": 0.1},
        of_pytorch_optimizer(
            "GaLore",
            lr=0.02,
            weight_decay=0.1,
            group={"rank": 2, "update_proj_gap": 200, "scale": 0.25, "projection_type": "std"},
        ),
    ),
    (
        "ranger21",
        "Ranger21",
        {"lr": 0.02, "weight_decay": 0.1, "norm_loss": 0.05},
        of_pytorch_optimizer(
            "Ranger21",
            lr=0.02,
            weight_decay=0.1,
            norm_loss_factor=0.05,
            num_iterations=30,
            disable_lr_scheduler=True,
        ),
    ),
    (
        "ranger21",
        "Ranger21",
        {"lr": 0.02, "betas": (0.8, 0.9), "beta0": 0.5, "softplus": 0.0, "centralize": False, "clip": 0.5, "k": 4},
        of_pytorch_optimizer(
            "Ranger21",
            lr=0.02,
            betas=(0.8, 0.9),
            beta0=0.5,
            use_softplus=False,
            centralize_gradients=False,
            agc_clipping_value=0.5,
            lookahead_merge_time=4,
            num_iterations=30,
            disable_lr_scheduler=True,
        ),
    ),
]


def show(value):
    return (
        str(value).replace(" ", "") if not isinstance(value, dict) else ",".join(f"{k}={v}" for k, v in value.items())
    )


@pytest.mark.parametrize(
    ("module", "cls", "kwargs", "oracle"), CASES, ids=[f"{c[1]}-{c[3][2]}-{show(c[2])}" for c in CASES]
)
def test_thirty_steps_follow_the_oracle(module, cls, kwargs, oracle):
    kind, package, name, theirs = oracle
    if find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    rng = np.random.default_rng(0)
    # optax gives vectors to Adam with Nesterov momentum where Muon has it, so there matrices alone are compared.
    shapes = [(4, 3), (3, 7)] if cls == "Muon" and "nesterov" not in kwargs else SHAPES
    arrays = [rng.normal(size=s) for s in shapes]
    params = [lc.Parameter(a.copy()) for a in arrays]
    ours = getattr(importlib.import_module(f"{lunar_optimizers.__name__}.{module}"), cls)(params, **kwargs)
    oracle = kind(package, name, arrays, theirs if theirs else dict(kwargs))
    tolerance = LOOSE.get(cls, 1e-8)
    for _ in range(STEPS):
        gradients = [np.sin(3 * p.data) + 0.3 * rng.normal(size=p.shape) for p in params]
        for p, g in zip(params, gradients):
            p.grad = lc.Tensor(g.copy())
        ours.step()
        for p, expected in zip(params, oracle.step(gradients)):
            np.testing.assert_allclose(p.data, expected, rtol=tolerance, atol=tolerance)
    assert all(np.abs(p.data - a).max() > 1e-4 for p, a in zip(params, arrays))
