"""A row for each optimizer: module of lunar_optimizers, class, hyperparameters that suit the valley of test_catalogue."""

from __future__ import annotations

import importlib
from typing import Any

import lunar_optimizers

ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("sgd", "SGD", {"lr": 2e-3, "momentum": 0.9}),
    ("adam", "Adam", {"lr": 0.02}),
    ("adamw", "AdamW", {"lr": 0.02}),
    ("nadam", "NAdam", {"lr": 0.02}),
    ("radam", "RAdam", {"lr": 0.02}),
    ("adamax", "Adamax", {"lr": 0.02}),
    ("rmsprop", "RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True}),
    ("adagrad", "Adagrad", {"lr": 0.3, "initial_accumulator_value": 0.1}),
    ("adadelta", "Adadelta", {"lr": 0.3, "eps": 1e-3}),
    ("rprop", "Rprop", {}),
    ("asgd", "ASGD", {"lr": 2e-3, "t0": 3}),
    ("lbfgs", "LBFGS", {"line_search": "strong_wolfe", "max_iter": 2}),
    ("adafactor", "Adafactor", {"lr": 0.05}),
    ("muon", "Muon", {"lr": 0.02}),
    ("lion", "Lion", {"lr": 0.01}),
    ("signum", "Signum", {"lr": 0.01}),
    ("yogi", "Yogi", {"lr": 0.05}),
    ("adabelief", "AdaBelief", {"lr": 0.02}),
    ("ademamix", "AdEMAMix", {"lr": 0.01, "betas": (0.9, 0.999, 0.99), "alpha": 2.0, "warmup": 50}),
    ("laprop", "LaProp", {"lr": 0.02}),
    ("madgrad", "MADGRAD", {"lr": 0.02}),
    ("adan", "Adan", {"lr": 0.02}),
    ("adopt", "ADOPT", {"lr": 0.02}),
    ("qhadam", "QHAdam", {"lr": 0.02}),
    ("adabound", "AdaBound", {"lr": 0.02, "final_lr": 2e-3}),
    ("schedule_free_sgd", "ScheduleFreeSGD", {"lr": 5e-3, "warmup": 5}),
    ("schedule_free_adamw", "ScheduleFreeAdamW", {"lr": 0.05, "warmup": 5}),
    ("lars", "LARS", {"lr": 1.0, "trust_coefficient": 2e-3}),
    ("lamb", "LAMB", {"lr": 0.02}),
    ("novograd", "NovoGrad", {"lr": 0.01}),
    ("adanorm", "AdaNorm", {"lr": 0.02}),
    ("came", "CAME", {"lr": 0.02}),
    ("mars", "MARS", {"lr": 0.02}),
    ("prodigy", "Prodigy", {"d0": 1e-3}),
    ("dadaptation", "DAdaptation", {"d0": 1e-3}),
    ("stable_adamw", "StableAdamW", {"lr": 0.02}),
    ("ranger", "Ranger", {"lr": 0.02, "betas": (0.9, 0.9), "centralize": False}),
    ("shampoo", "Shampoo", {"lr": 0.1, "momentum": 0.5, "every": 3, "eps": 1.0}),
    ("psgd_kron", "PSGDKron", {"lr": 0.02, "balance": 5}),
    ("soap", "SOAP", {"lr": 0.02, "every": 4}),
    ("adahessian", "AdaHessian", {"lr": 0.1, "every": 2}),
    ("sophia", "Sophia", {"lr": 0.02, "every": 4, "samples": 2}),
    ("swats", "SWATS", {"lr": 0.02, "tolerance": 1e-2}),
    ("ranger21", "Ranger21", {"lr": 0.02, "centralize": False}),
    ("galore", "GaLore", {"lr": 0.02, "rank": 1, "every": 5, "scale": 1.0}),
]


def load(module: str, cls: str) -> Any:
    """The class of a row."""
    return getattr(importlib.import_module(f"{lunar_optimizers.__name__}.{module}"), cls)
