"""What each gradient processor does to gradients, and that a run takes it as a plugin."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

import lunar_core as lc
from lunar_core import random
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_gradient_processors.clipping import AdaptiveClip, ClipByGlobalNorm, ClipByNorm, ClipByValue, EmaOfNorm
from lunar_gradient_processors.several import Accumulate, PCGrad
from lunar_gradient_processors.shaping import Centralize, DropNonfinite, Noise, Normalize
from lunar_layers.dense import Dense
from lunar_training.trainer import Trainer

ROWS = {
    "clip_by_norm": lambda: ClipByNorm(0.5),
    "clip_by_value": lambda: ClipByValue(0.5),
    "clip_by_global_norm": lambda: ClipByGlobalNorm(0.5),
    "adaptive_clip": lambda: AdaptiveClip(0.1, skip=("head.*",)),
    "centralize": Centralize,
    "normalize": lambda: Normalize("unit"),
    "noise": lambda: Noise(0.3),
    "drop_nonfinite": lambda: DropNonfinite("element"),
    "ema_of_norm": lambda: EmaOfNorm(1.01, 0.5),
    "accumulate": lambda: Accumulate(3),
    "pcgrad": PCGrad,
}


def gradients(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    shapes = {"w": (4, 3), "conv": (2, 3, 2, 2), "b": (5,), "s": ()}
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def run(processor, grads, parameters=None):
    if processor.needs_parameters:
        processor.process(grads, parameters or {name: np.asarray(0.3 * g + 0.1) for name, g in gradients(7).items()})
    else:
        processor.process(grads)
    return grads


def total(grads):
    return np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))


# -- what all of them do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float32, np.float64])
def test_the_arrays_stay_the_same_objects_of_the_same_dtype(name, dtype):
    grads = gradients(dtype=dtype)
    before = dict(grads)
    parameters = {n: g.astype(dtype) for n, g in gradients(3).items()}
    run(ROWS[name](), grads, parameters)
    for key, g in grads.items():
        assert g is before[key] and g.dtype == dtype and np.isfinite(g).all()


@pytest.mark.parametrize("name", ROWS)
def test_a_run_that_is_taken_up_again_goes_on_exactly(name):
    processor, again = ROWS[name](), ROWS[name]()
    for seed in range(4):
        run(processor, gradients(seed))
    again.load_state_dict(processor.state_dict())
    for seed in (5, 6):
        one, other = run(processor, gradients(seed)), run(again, gradients(seed))
        if name == "pcgrad":
            continue
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    if processor.state_dict():
        with pytest.raises(StateError):
            again.load_state_dict({"bananas": 1})


@pytest.mark.parametrize("name", ROWS)
def test_the_configuration_comes_back(name):
    processor = ROWS[name]()
    plain = json.loads(json.dumps(lc.to_config(processor.config())))
    again = type(processor).from_config_fields(**plain)
    assert repr(again) == repr(processor)
    type(processor)()  # defaults are valid
    with pytest.raises(HyperparameterError, match="bananas"):
        type(processor)(bananas=1)


@pytest.mark.parametrize("name", [n for n in ROWS if n != "pcgrad"])
def test_it_works_on_a_device_that_refuses_host_arrays(name):
    expected = run(ROWS[name](), gradients())
    parameters = {n: np.asarray(0.3 * g + 0.1) for n, g in gradients(7).items()}
    with fake_device():
        grads = {n: FakeArray(g.copy()) for n, g in gradients().items()}
        run(ROWS[name](), grads, {n: FakeArray(p) for n, p in parameters.items()})
        for key, g in grads.items():
            np.testing.assert_allclose(g._a, expected[key], rtol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_a_trainer_takes_it_as_a_plugin(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype(np.float32), rng.normal(size=(24, 1)).astype(np.float32)
    lc.seed(0)
    model = Dense(1, in_features=3)
    trainer = Trainer(
        model, lambda p, t: (p - t).square().mean(), _sgd(model), plugins=[ROWS[name]()], progress="off",
        installed_plugins=False,
    )  # fmt: skip
    before = model.weight.detach().numpy().copy()
    trainer.fit((x, y), epochs=1, batch_size=4)
    assert trainer.context.clock.step == (2 if name == "accumulate" else 6)
    assert not np.array_equal(before, model.weight.detach().numpy())


def _sgd(model):
    from lunar_optimizers.sgd import SGD

    return SGD(model.parameters(), lr=0.1)


# -- what each does ----------------------------------------------------------------------------------------------------


def test_values_are_clipped():
    grads = run(ClipByValue(0.5), gradients())
    for name, g in gradients().items():
        np.testing.assert_array_equal(grads[name], np.clip(g, -0.5, 0.5))


def test_each_gradient_is_clipped_by_its_own_norm():
    grads = run(ClipByNorm(1.5), gradients())
    for name, g in gradients().items():
        norm = np.linalg.norm(g)
        np.testing.assert_allclose(grads[name], g * min(1, 1.5 / norm), rtol=1e-12)
    assert (run(ClipByNorm(1.0), {"z": np.zeros(3)})["z"] == 0).all()


def test_all_gradients_are_clipped_together():
    assert total(run(ClipByGlobalNorm(1.5), gradients())) == pytest.approx(1.5, rel=1e-12)
    small = run(ClipByGlobalNorm(1e3), gradients())
    for name, g in gradients().items():
        np.testing.assert_array_equal(small[name], g)
    bad = {"a": np.array([np.inf, 5.0])}
    assert run(ClipByGlobalNorm(1.0), bad)["a"][1] == 5


def test_units_are_clipped_by_the_norm_of_their_weights():
    weights = {name: np.asarray(0.3 * g + 0.1) for name, g in gradients(7).items()}
    grads = run(AdaptiveClip(0.2), gradients(), weights)
    for name, g in gradients().items():
        for unit in range(len(g) if g.ndim > 1 else 1):
            here, w, was = (a[unit] if g.ndim > 1 else a for a in (grads[name], weights[name], g))
            limit = 0.2 * max(np.linalg.norm(w), 1e-3)
            factor = min(1, limit / max(np.linalg.norm(was), 1e-6))
            np.testing.assert_allclose(here, was * factor, rtol=1e-12)
    kept = run(AdaptiveClip(0.2, skip=("w", "con*")), gradients(), weights)
    np.testing.assert_array_equal(kept["w"], gradients()["w"])
    np.testing.assert_array_equal(kept["conv"], gradients()["conv"])


def test_a_spike_is_cut_down_to_the_running_mean():
    processor = EmaOfNorm(2.0, 0.5)
    ema = 0.0
    for i, size in enumerate([1.0, 3.0, 100.0, 1.0]):
        g = {"a": np.array([size, 0.0])}
        processor.process(g)
        expected = size if i == 0 else min(size, 2 * ema)
        ema = expected if i == 0 else 0.5 * ema + 0.5 * expected
        assert g["a"][0] == pytest.approx(expected)
        assert processor.ema == pytest.approx(ema)
    processor.process({"a": np.array([np.nan])})
    assert processor.ema == pytest.approx(ema) and processor.steps == 4
    listening = EmaOfNorm(1.0, 0.5, warmup=2)
    for size in (1.0, 9.0):
        assert run(listening, {"a": np.array([size])})["a"][0] == size
    assert run(listening, {"a": np.array([9.0])})["a"][0] == 5.0


def test_centralized_units_have_mean_zero_and_vectors_stay():
    grads = run(Centralize(), gradients())
    for name, g in gradients().items():
        if g.ndim > 1:
            np.testing.assert_allclose(grads[name], g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True), rtol=1e-12)
        else:
            np.testing.assert_array_equal(grads[name], g)


def test_normalized_gradients_have_length_one():
    for g in run(Normalize(), gradients()).values():
        assert np.linalg.norm(g) == pytest.approx(1, rel=1e-7)
    assert total(run(Normalize("global"), gradients())) == pytest.approx(1, rel=1e-7)
    units = run(Normalize("unit"), gradients())
    np.testing.assert_allclose(np.linalg.norm(units["conv"].reshape(2, -1), axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(units["b"]), 1, rtol=1e-6)


def test_noise_has_the_variance_of_its_step_and_comes_from_its_own_stream():
    noise = Noise(0.5, gamma=0.55)
    for step in range(3):
        g = {"a": np.zeros(200_000)}
        noise.process(g)
        assert g["a"].var() == pytest.approx(0.5 / (1 + step) ** 0.55, rel=0.02)
        expected = random.generator("gradient_noise", step).standard_normal(200_000)
        np.testing.assert_allclose(g["a"], expected * (0.5 / (1 + step) ** 0.55) ** 0.5)
    assert random.state()["streams"]["gradient_noise"] == 0


@pytest.mark.parametrize(
    ("what", "a", "b"),
    [("element", [1, 0, 0], [5]), ("parameter", [0, 0, 0], [5]), ("step", [0, 0, 0], [0])],
)
def test_what_is_not_finite_is_dropped(what, a, b):
    processor = DropNonfinite(what)
    grads = run(processor, {"a": np.array([1, np.nan, np.inf]), "b": np.array([5.0])})
    assert grads["a"].tolist() == a and grads["b"].tolist() == b
    assert processor.dropped == 1
    run(processor, grads)
    assert processor.dropped == 1


def test_a_step_is_the_mean_of_several_batches():
    processor = Accumulate(3)
    batches = [gradients(i) for i in range(3)]
    expected = {name: np.mean([b[name] for b in batches], axis=0) for name in batches[0]}
    for i, batch in enumerate(batches):
        run(processor, batch)
        assert processor.ready == (i == 2)
        assert processor.lunar_before_step() == (None if i == 2 else "skip")
        if i < 2:
            assert all((g == 0).all() for g in batch.values())
    for name, g in batches[2].items():
        np.testing.assert_allclose(g, expected[name], rtol=1e-12)
    run(processor, {"w": np.ones(1), "gone": np.ones(1)})
    run(processor, {"w": np.ones(1)})
    with pytest.raises(StateError, match="gone"):
        run(processor, {"w": np.ones(1)})


def test_conflicting_tasks_are_projected_and_agreeing_ones_added():
    x, y = {"a": np.array([1.0, 0.0])}, {"a": np.array([-1.0, 1.0])}
    # x loses its part along y: [1, 0] + 1/2 [-1, 1]; y loses its part along x: [-1, 1] + [1, 0]
    np.testing.assert_allclose(PCGrad().combine([x, y])["a"], [0.5, 1.5])
    agreeing = {"a": np.array([1.0, 1.0])}
    np.testing.assert_allclose(PCGrad().combine([x, agreeing])["a"], [2, 1])
    processor = PCGrad()
    processor.add(x)
    processor.add(y)
    grads = {"a": np.zeros(2)}
    processor.process(grads)
    np.testing.assert_allclose(grads["a"], [0.5, 1.5])
    assert x["a"].tolist() == [1, 0]
    processor.process(grads)
    np.testing.assert_allclose(grads["a"], [0.5, 1.5])


def test_after_surgery_no_task_of_two_loses_to_the_other():
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y = ({n: rng.normal(size=3) for n in "ab"} for _ in range(2))
        merged = PCGrad().combine([x, y])
        for task in (x, y):
            assert sum(merged[n] @ task[n] for n in "ab") >= -1e-12


@pytest.mark.parametrize(
    "make",
    [lambda: ClipByNorm(0), lambda: AdaptiveClip(eps=0), lambda: EmaOfNorm(decay=1.0), lambda: Normalize("all"),
     lambda: Noise(-1), lambda: DropNonfinite("all"), lambda: Accumulate(0)],
)  # fmt: skip
def test_bad_hyperparameters_are_refused(make):
    with pytest.raises(HyperparameterError):
        make()
