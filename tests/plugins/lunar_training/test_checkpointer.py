"""Checkpoints without a Trainer: what is saved, what is kept, what is read back, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest
from resuming import classes, digest, network

import lunar_core as lc
from lunar_core import random as streams
from lunar_core.errors import HyperparameterError, SerializationError, StateError
from lunar_training import Checkpointer, CheckpointWarning, Clock, LossScaler, deferred, transaction
from lunar_training.checkpoint import read


class Run:
    """A loop written by hand: scaler, schedule, dropout, checkpoints at every third step."""

    def __init__(self, directory, **options):
        self.model = network()
        self.model(lc.tensor(classes()[0]))
        self.optimizer = lc.optimizers.EMA(lc.optimizers.AdamW(self.model.parameters(), lr=1e-2), decay=0.9)
        self.schedule = lc.schedulers["exponential"](factor=0.9).bind(self.optimizer)
        self.scaler = LossScaler(2.0**10, every=4)
        self.clock = Clock()
        self.losses = []
        self.saver = Checkpointer(directory, every="3step", **options)

    @property
    def parts(self):
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "clock": self.clock,
            "losses": self.losses,
        }

    def train(self, steps, die_at=None):
        x, y = classes()
        loss_fn = lc.losses.CrossEntropy()
        while self.clock.step < steps:
            index = streams.stream("batches").next().integers(0, len(x), 8)
            self.optimizer.zero_grad()
            with lc.autocast("bfloat16"):
                loss = loss_fn(self.model(lc.tensor(x[index])), lc.tensor(y[index]))
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.clock.step += 1
            self.schedule.step()
            self.losses.append(loss.item())
            if self.clock.step == die_at:
                return
            if self.saver.due(self.clock):
                self.saver.save(self.parts, clock=self.clock)

    def resume(self):
        found = self.saver.restore(self.parts)
        self.losses[:] = found.state["losses"] if found else []

    def digest(self):
        parts = self.model, self.optimizer, self.schedule, self.scaler
        return digest([*(p.state_dict() for p in parts), self.losses])


@pytest.mark.parametrize("background", [False, True])
def test_a_loop_by_hand_goes_on_bit_for_bit(tmp_path, background):
    lc.seed(1)
    whole = Run(tmp_path / "whole")
    whole.train(20)
    died_at = (5, 6, 13)
    for at in died_at:
        lc.seed(99)  # whatever else the process did before
        run = Run(tmp_path / "parts", background=background)
        if at == died_at[0]:
            lc.seed(1)
            run = Run(tmp_path / "parts", background=background)
        run.resume()
        run.train(20, die_at=at)
        run.saver.wait()
    last = Run(tmp_path / "parts")
    last.resume()
    assert last.clock.step == 12
    last.train(20)
    assert last.digest() == whole.digest()


def test_the_model_file_is_its_state_dict(tmp_path):
    model = network()
    model(lc.tensor(classes()[0]))
    path = Checkpointer(tmp_path).save({"model": model})
    other = network()
    other(lc.tensor(classes()[0]))
    other.load_state_dict(lc.load(path / "model.safetensors"))
    assert digest(other.state_dict()) == digest(model.state_dict())


def test_every_kind_of_data_comes_back(tmp_path):
    tree = {
        "numbers": [1, -(2**70), 0.1, float("inf"), -0.0, 1e-320, 1 + 2j, True, None],
        "nested": {"a": (1, (2, [3])), "b": {5: "five", (1, 2): b"\x00\xff"}},
        "@odd": {"@array": "no array"},
        "arrays": [np.arange(6).reshape(2, 3).T, np.float16(1.5), np.array([1 + 1j]), np.zeros((0, 3)), np.array(7)],
        "text": "Grüße\n\x00",
    }
    Checkpointer(tmp_path).save({"tree": tree})
    found = Checkpointer(tmp_path).load().state["tree"]
    assert found["numbers"] == tree["numbers"]
    assert str(found["numbers"][4]) == "-0.0"
    assert found["nested"] == tree["nested"]
    assert found["@odd"] == tree["@odd"]
    assert found["text"] == tree["text"]
    for got, expected in zip(found["arrays"], tree["arrays"]):
        np.testing.assert_array_equal(got, expected)
    assert found["arrays"][2].dtype == np.complex128


def test_what_is_no_data_is_named(tmp_path):
    with pytest.raises(SerializationError, match=r"method at x\.0\.f"):
        Checkpointer(tmp_path).save({"x": [{"f": print}]})
    loop = []
    loop.append(loop)
    with pytest.raises(SerializationError, match="contains itself"):
        Checkpointer(tmp_path).save({"x": loop})
    assert not tmp_path.exists() or list(tmp_path.iterdir()) == []


# --- what is kept ----------------------------------------------------------------------------------------------------


def values(saver):
    return [read(saver.directory / name).state["v"] for name in saver.names()]


def test_the_newest_and_the_best_stay(tmp_path):
    saver = Checkpointer(tmp_path, keep=2, best="val_loss", keep_best=2)
    for v, loss in enumerate([5.0, 1.0, 3.0, 2.0, float("nan"), 4.0, 6.0]):
        saver.save({"v": v}, figures={"val_loss": loss, "name": "text is left out"})
    assert values(saver) == [1, 3, 5, 6]
    assert saver.load("best").state["v"] == 1
    assert saver.load().state["v"] == 6
    again = Checkpointer(tmp_path, keep=1, best="val_loss", keep_best=1)
    again.save({"v": 7}, figures={"val_loss": 9.0})
    assert values(again) == [1, 7]


def test_all_stay_if_wanted_and_a_function_may_choose(tmp_path):
    saver = Checkpointer(tmp_path / "all", keep=None)
    for v in range(4):
        saver.save({"v": v})
    assert values(saver) == [0, 1, 2, 3]
    chosen = Checkpointer(tmp_path / "chosen", choose=lambda paths: paths if len(paths) > 3 else [])
    for v in range(4):
        chosen.save({"v": v})
    assert values(chosen) == [3]  # the newest stays whatever is answered


def test_a_damaged_checkpoint_is_passed_over_and_goes_at_the_next_commit(tmp_path):
    saver = Checkpointer(tmp_path, keep=2)
    for v in range(3):
        saver.save({"v": v, "array": np.arange(9.0)})
    newest = tmp_path / saver.names()[-1]
    (newest / "state.safetensors").write_bytes(b"")
    with pytest.warns(CheckpointWarning, match="passing over the checkpoint 000003.*state.safetensors"):
        assert saver.load().state["v"] == 1
    saver.save({"v": 9})
    assert values(saver) == [1, 9]
    for name in saver.names():
        (tmp_path / name / "manifest.json").write_text("{}")
    with pytest.warns(CheckpointWarning), pytest.raises(SerializationError, match="none of the 2 checkpoints"):
        saver.load()


def test_links_and_strange_names_in_a_checkpoint_are_refused(tmp_path):
    saver = Checkpointer(tmp_path / "c")
    path = saver.save({"v": 1})
    os.rename(path / "state.json", tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", path / "state.json")
    with pytest.raises(SerializationError, match=r"state\.json"):
        read(path)
    os.remove(path / "state.json")
    os.mkfifo(path / "state.json")
    with pytest.raises(SerializationError, match="not a regular file"):
        read(path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["../../etc/passwd"] = manifest["files"].pop("state.json")
    manifest["digest"] = transaction.digest_of(manifest)
    (path / "manifest.json").write_bytes(transaction._canonical(manifest))
    with pytest.raises(SerializationError, match="it names the file"):
        read(path)


def test_a_killed_writers_staging_directory_is_swept_by_the_next(tmp_path):
    saver = Checkpointer(tmp_path)
    saver.save({"v": 1})
    litter = tmp_path / ".staging-000002-1-abcd"
    litter.mkdir()
    (litter / "state.json").write_text("half")
    assert saver.load().state["v"] == 1
    saver.save({"v": 2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000001", "000002"]


def test_two_writers_take_turns(tmp_path):
    savers = [Checkpointer(tmp_path, keep=None) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda s=s, i=i: [s.save({"v": (i, k)}) for k in range(5)])
        for i, s in enumerate(savers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values(savers[0])) == [(i, k) for i in range(4) for k in range(5)]


def test_what_went_wrong_in_the_background_is_raised_by_the_next_call(tmp_path):
    (tmp_path / "file").write_text("in the way")
    saver = Checkpointer(tmp_path / "file" / "c", background=True)
    saver.save({"v": 1})
    with pytest.raises(SerializationError, match="cannot make the directory"):
        saver.wait()
    saver.wait()


def test_arrays_may_change_while_they_are_written_in_the_background(tmp_path):
    array = np.zeros(200_000)
    saver = Checkpointer(tmp_path, background=True)
    saver.save({"a": array, "again": array})
    array += 1
    saver.wait()
    assert not saver.load().state["a"].any()


# --- what does not fit -----------------------------------------------------------------------------------------------


def test_a_package_that_is_not_installed_is_named(tmp_path):
    model = network()
    model(lc.tensor(classes()[0]))
    path = Checkpointer(tmp_path).save({"optimizer": lc.optimizers.Adam(model.parameters())})
    manifest = json.loads((path / "manifest.json").read_text())
    for component in manifest["components"]:
        component.update(name="lion", dist="lunar-lion", version="1.2.0")
    manifest["digest"] = transaction.digest_of(manifest)
    (path / "manifest.json").write_bytes(transaction._canonical(manifest))
    with pytest.raises(StateError, match=r"optimizer 'lion' of lunar-lion 1\.2\.0, which is not installed") as caught:
        read(path).restore({"optimizer": lc.optimizers.SGD(model.parameters(), lr=0.1)})
    assert caught.value.hint == "pip install lunar-lion==1.2.0"


def test_a_part_that_is_missing_or_does_not_fit_is_named(tmp_path):
    path = Checkpointer(tmp_path).save({"clock": Clock(), "scaler": LossScaler()})
    with pytest.raises(StateError, match="no state of optimizer; it has clock, random, scaler"):
        read(path).restore({"optimizer": Clock()})
    with pytest.raises(StateError, match="scaler: not the state of a clock"):
        read(path).restore({"scaler": Clock()})


def test_averages_in_the_place_of_the_weights_are_not_saved_as_if_they_were_trained(tmp_path):
    run = Run(tmp_path)
    run.train(2)
    run.optimizer.eval()
    with pytest.raises(StateError, match="averages"):
        run.saver.save(run.parts)
    run.optimizer.train()
    run.saver.save(run.parts)


def test_checkpoints_may_be_kept_apart_in_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    saver, clock, taken = Checkpointer(tmp_path, every="1step", spacing="10s"), Clock(), []
    saver.begin(clock)
    for _ in range(30):
        now[0] += 3.0
        clock.step += 1
        if saver.due(clock):
            taken.append(clock.step)
            saver.save({"v": 1})
    assert taken == [4, 8, 12, 16, 20, 24, 28]


@pytest.mark.parametrize(
    "options", [{"spacing": "2ep"}, {"keep": 0}, {"keep": True}, {"keep_best": -1}, {"mode": "up"}, {"every": "soon"}]
)
def test_settings_that_make_no_sense_are_refused(tmp_path, options):
    with pytest.raises(HyperparameterError, match="Checkpointer"):
        Checkpointer(tmp_path, **options)


# --- signals ---------------------------------------------------------------------------------------------------------


def test_a_signal_is_noted_and_ends_the_loop_as_it_would_have():
    before = signal.getsignal(signal.SIGTERM)
    with deferred() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        with deferred() as inner:
            assert inner is stop
        assert stop.signum == signal.SIGTERM
        assert isinstance(stop.exception(), SystemExit)
        assert stop.exception().code == 143
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_takes_nothing_over():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with deferred() as stop:
            seen.append((bool(stop), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
