"""The Trainer on a device that is not the host, and over many steps."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from training_parts import Descent, LazyLine, Line, SquaredError, regression

import lunar_core as lc
from lunar_core import backend
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_training import Trainer
from lunar_training.callbacks.early_stopping import EarlyStopping


def trainer(model, **options):
    return Trainer(model, SquaredError(), Descent(model.parameters()), progress="off", **options)


@pytest.mark.parametrize("make", [Line, LazyLine])
def test_training_on_a_device_equals_training_on_the_host(make, tmp_path):
    x, y = regression(n=40)
    weights = np.arange(40) % 3 + 0.5

    def run(**options):
        lc.seed(0)
        t = trainer(make(), clip_norm=1.0, dtype="float64", plugins=[EarlyStopping(restore_best=True)], **options)
        t.fit((x, y, weights), val=0.25, epochs=3, batch_size=7, out=tmp_path / str(options))
        return t, t.predict(x), t.evaluate((x, y))

    host, host_out, host_figures = run()
    with fake_device():
        there, out, figures = run(device="fake")
        assert isinstance(there.model.w.data, FakeArray)
        assert type(out) is np.ndarray
        np.testing.assert_allclose(out, host_out, rtol=1e-12)
        assert figures == pytest.approx(host_figures, rel=1e-12)
        assert there.history["val_loss"] == pytest.approx(host.history["val_loss"], rel=1e-12)
        saved = lc.load(tmp_path / str({"device": "fake"}) / "weights.safetensors")
        np.testing.assert_allclose(saved["w"], host.model.w.data, rtol=1e-12)


def test_a_step_waits_for_the_device_once_to_read_the_loss():
    x, y = regression(n=64)
    with fake_device() as device:
        t = trainer(Line(), device="fake")
        t.fit((x, y), batch_size=8)
        before = device.synchronizations
        t.fit((x, y), batch_size=8, epochs=2)
        assert device.synchronizations - before == 16


def test_data_that_lies_on_the_device_stays_there():
    x, y = regression(n=32)
    with fake_device() as device:
        there = [backend.for_device("fake").from_numpy(part, "fake") for part in (x, y)]
        t = trainer(Line(), device="fake")
        t.fit(tuple(there), batch_size=8)
        before = device.synchronizations
        t.fit(tuple(there), batch_size=8)
        assert device.synchronizations - before == 4
        host = trainer(Line())
        host.fit((x, y), batch_size=8)
        host.fit((x, y), batch_size=8)
        np.testing.assert_allclose(t.predict(there[0]), host.predict(x), rtol=1e-12)


def test_steps_leave_nothing_behind():
    x, y = regression(n=64)
    t = trainer(Line())
    t.fit((x, y), batch_size=4, epochs=2)

    def objects():
        gc.collect()
        return len(gc.get_objects())

    t.fit((x, y), batch_size=4, epochs=2)
    before = objects()
    t.fit((x, y), batch_size=4, epochs=20)  # 320 steps
    assert objects() - before < 40  # a row of the history for each epoch
