"""The flight recorder and replay: a bad step is named at once, written down, and run again to the last bit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from instrument_parts import images, run
from training_parts import plugin

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import ConfigError, SerializationError
from lunar_core.serialize import load
from lunar_training import DivergenceError
from lunar_training.callbacks.flight_recorder import FlightRecorder
from lunar_training.replay import replay


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Cube(lc.layers.Identity):
    """``x ** 3``: a part without a configuration."""

    def forward(self, x):
        return ops.power(x, 3.0)


def cubic():
    layers = lc.layers
    return layers.Sequential(layers.Flatten(), layers.Dense(8), Cube(), layers.Dense(4))


def bundle_of(*plugins, recorder=None, expect=DivergenceError, **options):
    recorder = FlightRecorder() if recorder is None else recorder
    with np.errstate(all="ignore"):
        if expect is None:
            run(recorder, *plugins, **options)
        else:
            with pytest.raises(expect):
                run(recorder, *plugins, **options)
    return recorder


def read(recorder):
    return json.loads((Path(recorder.bundles[0]) / "bundle.json").read_text())


def test_an_injected_nan_is_named_with_op_module_and_examples_and_replayed_to_the_bit():
    told = []
    spy = plugin(lunar_log=lambda self, record: told.append(record), band="logger", draws=False)
    x, y = images()
    x = x.copy()
    bad = 37
    x[bad] = 1e30  # the weights stay finite until this example comes
    recorder = bundle_of(spy, data=(x, y), model=cubic())
    (path,) = recorder.bundles
    record = json.loads((Path(path) / "bundle.json").read_text())
    phase, op, module, *_ = record["first"]
    assert (phase, op, module) == ("forward", "power", "2")
    assert record["example_ids"] == [bad] and bad in record["ids"]
    said = next(r for r in told if r["event"] == "diagnosis")
    assert 'power in module "2"' in said["text"] and f"examples {bad}" in said["text"]
    assert f"lunar replay {path}" in said["suggestion"]

    with np.errstate(all="ignore"):
        again = replay(path, model=cubic())
    assert again.agrees is True
    assert (again.first.op, again.first.module, again.cause) == ("power", "2", "")
    assert [record["ids"][i] for i in again.examples] == [bad]
    assert 'power in module "2"' in again.text() and "the same as recorded in every op" in again.text()


def test_the_bundle_holds_weights_before_the_step_and_nothing_pickled():
    states = []

    def lunar_before_fetch(self, ctx):
        states.append({k: v.copy() for k, v in ctx.model.state_dict().items()})

    def lunar_before_loss(self, outputs, targets, ctx):
        return (outputs * float("nan"), targets) if ctx.clock.step == 4 else None

    keep = plugin(lunar_before_fetch=lunar_before_fetch, band="reader", draws=False)
    recorder = bundle_of(keep, plugin(lunar_before_loss=lunar_before_loss))
    tensors = load(f"{recorder.bundles[0]}/tensors.safetensors")
    for name, array in states[-1].items():  # running statistics too, which the forward pass has moved since
        np.testing.assert_array_equal(tensors[f"model/{name}"], array)
    assert tensors["batch/0"].shape == (16, 1, 6, 6)
    record = read(recorder)
    assert record["step"] == 5 and [entry["step"] for entry in record["ring"]] == [1, 2, 3, 4]
    assert all(len(entry["ids"]) == 16 and len(entry["ops"]) > 10 for entry in record["ring"])
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads((Path(recorder.bundles[0]) / "tensors.safetensors").read_bytes())


def test_dropout_and_mixup_draw_the_same_again():
    from lunar_training.callbacks.mixup import Mixup

    x, y = images()
    recorder = bundle_of(
        Mixup(), lc.create("callback", "label_smoothing"), model=lc.create("model", "digits_cnn", num_classes=4),
        data=(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), y), recorder=FlightRecorder(spike=1e-3, limit=1), expect=None,
    )  # fmt: skip
    again = replay(recorder.bundles[0])  # the model is built from its configuration
    assert again.first is None and again.agrees is True and again.exception is None
    assert again.loss == again.record["loss"]
    assert again.record["reason"] == "spike" and len(again.rows) > 30
    assert "finite" in again.text()


def test_an_exception_is_written_and_raised_again():
    def lunar_before_loss(self, outputs, targets, ctx):
        if ctx.clock.step == 2:
            raise ValueError("in the middle")

    recorder = bundle_of(plugin(lunar_before_loss=lunar_before_loss), expect=ValueError)
    record = read(recorder)
    assert record["reason"] == "exception" and record["phase"] == "loss" and record["step"] == 3
    assert record["plugins_without_configuration"] == ["plugin"]


def test_a_gradient_that_is_not_finite_is_found_before_it_reaches_the_weights():
    def lunar_op_backward_post(self, op, grads, ctx):
        if op.name == "relu" and ctx.clock.step == 1:
            return (grads[0] * np.float32(np.nan),)

    poison = plugin(lunar_op_backward_post=lunar_op_backward_post)
    for watched in (True, False):
        recorder = bundle_of(poison, recorder=FlightRecorder(ops=watched, limit=1))
        record = read(recorder)
        assert record["reason"] == "gradient" and record["step"] == 2
        assert record["first"] is None if not watched else record["first"][:2] == ["backward", "relu"]


def test_a_bad_parameter_is_named_as_the_cause():
    def lunar_batch_start(self, ctx):
        if ctx.clock.step == 2:
            ctx.model[3].bias.data[0] = np.inf

    recorder = bundle_of(plugin(lunar_batch_start=lunar_batch_start), model=cubic())
    record = read(recorder)
    assert record["cause"] == "the parameter 3.bias" and record["first"][2] == "3"


def test_a_good_run_writes_nothing_and_the_ring_is_bounded(tmp_path):
    recorder = FlightRecorder(keep=3)
    run(recorder, epochs=2)
    assert recorder.bundles == [] and list(tmp_path.iterdir()) == [] and len(recorder.ring) == 3


def test_only_so_many_bundles_are_written():
    skip = plugin(lunar_loss_nonfinite=lambda self: "skip", lunar_before_loss=lambda self, outputs, targets: (
        outputs * float("nan"), targets))  # fmt: skip
    recorder = bundle_of(skip, recorder=FlightRecorder(limit=2), expect=None)
    assert len(recorder.bundles) == 2


def test_a_model_without_a_configuration_has_to_be_given():
    def lunar_before_loss(self, outputs, targets):
        return outputs * float("nan"), targets

    recorder = bundle_of(plugin(lunar_before_loss=lunar_before_loss), model=cubic())
    with pytest.raises(ConfigError, match="--model my_module:make"):
        replay(recorder.bundles[0])


def test_what_is_no_bundle_is_said(tmp_path):
    with pytest.raises(SerializationError, match=r"has no bundle\.json"):
        replay(tmp_path)
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(SerializationError, match="damaged"):
        replay(tmp_path)
    (tmp_path / "bundle.json").write_text('{"format": 99}')
    with pytest.raises(SerializationError, match="format 1"):
        replay(tmp_path)


def test_the_ids_are_those_of_the_examples_whatever_gives_the_batches():
    from lunar_data.loader import Loader
    from lunar_training.flight import ids_of

    x, y = images()
    x[:, 0, 0, 0] = np.arange(96)  # an example says which one it is
    seen = []

    class Spy:
        band = "reader"
        draws = False

        def lunar_stage_start(self, stage, loader, ctx):
            if stage == "train":
                self.ids = ids_of(loader, ctx.clock.epoch)

        def lunar_batch_start(self, batch, ctx):
            seen.append((self.ids(ctx.clock.batch, len(batch[0])), batch[0][:, 0, 0, 0].tolist()))

    lc.seed(0)
    run(Spy(), data=(x, y))
    run(Spy(), data=(x, y), val=0.25)
    run(Spy(), data=(x, y), shuffle=False)
    loader = Loader(list(zip(x, y)), batch_size=16, shuffle=True)
    run(Spy(), data=loader)
    assert len(seen) == 12 + 10 + 12 + 12
    for ids, bright in seen:
        assert ids == [int(v) for v in bright]
