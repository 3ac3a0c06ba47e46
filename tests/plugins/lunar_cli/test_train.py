"""lunar train: real runs of a small model, and every mistake as one message and exit code 2."""

from __future__ import annotations

import gzip
import importlib.util
import json
import pickle
import re
import signal
import struct
import tomllib
from pathlib import Path

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.contracts.callback import Callback

SMALL = ["--set", "model=mlp", "--set", "model.hidden=[16]", "--set", "scheduler=none", "--epochs", "2"]

SIGN = """
from lunar_core.component import field, non_negative
from lunar_core.contracts.optimizer import Optimizer

class Sign(Optimizer):
    '''Steps by the sign of the gradient.'''
    lr: float = field(default=1e-2, validator=non_negative)

    @staticmethod
    def update(p, g, *, lr):
        import numpy as np
        return p - lr * np.sign(g)
"""


@pytest.fixture
def train(lunar):
    """Runs ``lunar train digits-cnn`` with the small model; gives the run's directory and what was printed."""

    def run(*args, name="digits-cnn", out="run"):
        code, stdout, err = lunar("train", name, *SMALL, "--out", out, *args)
        assert (code, err) == (0, ""), err
        return Path(out), stdout

    return run


def figures(folder):
    return json.loads((folder / "test.json").read_text())


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_tells_what_it_does_and_writes_everything(train):
    folder, out = train()
    for text in ("digits-cnn", "1,347 for training", "450 for the test", "1 x 8 x 8, 10 classes", "1,210 parameters"):
        assert text in out
    assert "adamw (lr=0.005" in out
    assert len(re.findall(r"^epoch \d/2 ", out, re.MULTILINE)) == 2
    assert re.search(r"^test  loss \d\.\d{4}  accuracy 0\.\d{4}  \(450 examples\)$", out, re.MULTILINE)
    assert out.endswith(f"written to {folder}\n")
    names = {path.name for path in folder.iterdir()}
    assert {
        "config.toml",
        "config.json",
        "environment.json",
        "history.csv",
        "weights.safetensors",
        "test.json",
    } <= names
    assert figures(folder)["accuracy"] > 0.5
    assert tomllib.loads((folder / "config.toml").read_text())["optimizer"]["lr"] == 5e-3


def test_without_out_each_run_gets_a_directory_of_its_own(lunar):
    for _ in range(2):
        assert lunar("train", "digits-cnn", *SMALL, "--seed", "7", "--epochs", "1")[0] == 0
    folders = sorted(path.name for path in Path("runs").iterdir())
    assert len(folders) == 2
    assert all(re.fullmatch(r"digits-cnn-\d{8}-\d{6}-7(-2)?", name) for name in folders)


def test_the_same_run_again_gives_the_same_figures_and_another_seed_others(train):
    first, _ = train(out="first")
    again, _ = train(out="again", name="first")
    other, _ = train("--seed", "1", out="other")
    assert figures(first) == figures(again)
    assert (first / "weights.safetensors").read_bytes() == (again / "weights.safetensors").read_bytes()
    assert figures(first) != figures(other)


def test_the_weights_of_a_run_are_a_start_for_another(train):
    first, _ = train(out="first")
    train("--weights", first / "weights.safetensors", "--set", "optimizer.lr=1e-12", out="second")
    assert figures(Path("second"))["accuracy"] == figures(first)["accuracy"]


def test_a_strangers_optimizer_trains_by_its_name(train, stranger):
    stranger("lunar-sign", {"sign_x": SIGN}, {"lunar.optimizers": {"sign": "sign_x:Sign"}})
    folder, out = train("--optimizer", "sign", "--set", "optimizer.lr=0.003")
    assert "sign (lr=0.003)" in out
    assert figures(folder)["accuracy"] > 0.5
    assert tomllib.loads((folder / "config.toml").read_text())["optimizer"] == {
        "@optimizer": "lunar-sign/sign",
        "lr": 0.003,
    }
    _, out = train("--set", "optimizer=lunar-sign/sign", out="other")
    assert "lunar-sign/sign (lr=0.01)" in out


def test_a_validation_share_is_evaluated_each_epoch(train):
    _, out = train("--set", "split.val=0.2", "--set", 'callbacks=["lr_monitor"]')
    assert "1,077 for training, 270 for validation, 450 for the test" in out
    assert len(re.findall(r"val_accuracy 0\.\d+", out)) == 2
    assert "lr 0.0050" in out


def idx_pair(folder, name, count, cut=0):
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 3
    images = rng.integers(0, 60, (count, 6, 6)) + 60 * labels[:, None, None]
    content = struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.astype(np.uint8).tobytes()
    (folder / f"{name}-images.gz").write_bytes(gzip.compress(content[: len(content) - cut]))
    (folder / f"{name}-labels").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.astype(np.uint8).tobytes())
    return {"@dataset": "idx", "images": f"{name}-images.gz", "labels": f"{name}-labels"}


def recipe_file(folder, **tables):
    from lunar_cli.toml import dumps

    base = {
        "epochs": 12,
        "loss": "cross_entropy",
        "metrics": ["accuracy"],
        "model": {"@model": "mlp", "num_classes": 3},
    }
    (folder / "mine.toml").write_text(dumps(base | {"optimizer": {"@optimizer": "adam", "lr": 0.01}} | tables))


def test_a_file_may_name_data_of_ones_own_and_a_test_set(lunar, tmp_path):
    recipe_file(tmp_path, dataset=idx_pair(tmp_path, "train", 120), test=idx_pair(tmp_path, "test", 30))
    code, out, err = lunar("train", "mine.toml", "--out", "run")
    assert (code, err) == (0, "")
    assert "idx: 120 for training, 30 for the test; 1 x 6 x 6, 3 classes" in out
    assert figures(Path("run"))["accuracy"] == 1


# -- mistakes ----------------------------------------------------------------------------------------------------------


def refused(lunar, *args):
    """What was said; the run must end with exit code 2, no traceback, and nothing written."""
    before = sorted(Path().rglob("*"))
    code, _, err = lunar("train", *args)
    assert code == 2, err
    assert "Traceback" not in err
    assert sorted(Path().rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["digit-cnn"], "did you mean 'digits-cnn'"),
        (["nowhere/config.toml"], "there is no file nowhere/config.toml"),
        (["digits-cnn", "--optimizer", "adamww"], "did you mean 'adamw'"),
        (["digits-cnn", "--set", "model=digitscnn"], "did you mean 'digits_cnn'"),
        (["digits-cnn", "--set", "optimizer.learning_rate=0.1"], "optimizer.learning_rate: AdamW has no such field"),
        (["digits-cnn", "--set", "optimizer.lr=nan"], "optimizer.lr: must be a finite number"),
        (["digits-cnn", "--set", "optimizer.lr=fast"], "got 'fast'"),
        (["digits-cnn", "--set", "model.dropout=1.5"], "model.dropout"),
        (["digits-cnn", "--epochs", "0"], "epochs: must be"),
        (["digits-cnn", "--seed", "-1"], "seed: must be"),
        (["digits-cnn", "--device", "gpu"], "unknown device 'gpu'"),
        (["digits-cnn", "--set", "split.test=0.001"], "10 classes"),
        (["digits-cnn", "--set", "epoch=3"], "did you mean 'epochs'"),
        (["digits-cnn", "--set", "nonsense"], "key=value"),
        (["digits-cnn", "--weights", "none.safetensors"], "there is no file none.safetensors"),
    ],
)
def test_a_mistake_is_one_message(lunar, args, words):
    assert words in refused(lunar, *args)


def test_several_mistakes_are_told_together(lunar):
    err = refused(lunar, "digits-cnn", "--set", "optimizer.lr=-1", "--set", "model.channels=3", "--epochs", "0")
    assert "3 errors in the recipe" in err
    assert "epochs: must be" in err
    assert "optimizer.lr" in err
    assert "model.channels" in err


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_cuda_without_cupy_says_what_to_install(lunar):
    assert "lunarlearn[cuda12]" in refused(lunar, "digits-cnn", "--device", "cuda")


def test_weights_that_are_corrupt_foreign_or_of_another_model_are_refused(lunar, train, tmp_path):
    folder, _ = train()
    good = (folder / "weights.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(good[:-100])
    Path("pickled.bin").write_bytes(pickle.dumps({"a": 1}))
    lc.save({"other": np.ones(3)}, "other.safetensors")
    assert "cut.safetensors is truncated or corrupt" in refused(lunar, "digits-cnn", "--weights", "cut.safetensors")
    assert "a Python pickle" in refused(lunar, "digits-cnn", "--weights", "pickled.bin")
    assert "missing" in refused(lunar, "digits-cnn", "--weights", "other.safetensors")


def test_a_directory_that_holds_a_run_is_not_overwritten(lunar, train):
    train()
    assert "already holds a run" in refused(lunar, "digits-cnn", *SMALL, "--out", "run")


def test_data_that_is_truncated_empty_or_missing_is_refused(lunar, tmp_path):
    good = idx_pair(tmp_path, "good", 30)
    for name, table, words in (
        ("cut", idx_pair(tmp_path, "cut", 30, cut=50), "cut-images.gz: truncated"),
        ("empty", good | {"offset": 30}, "no example at offset 30"),
        ("gone", good | {"images": "gone.gz"}, "there is no file gone.gz"),
        ("scale", good | {"limit": 0}, "dataset.limit: must be"),
    ):
        recipe_file(tmp_path, name=name, dataset=table)
        assert words in refused(lunar, "mine.toml")


def test_a_model_that_does_not_fit_the_data_names_the_layer(lunar, tmp_path):
    recipe_file(tmp_path, dataset=idx_pair(tmp_path, "x", 30), model={"@model": "mlp", "input_shape": [5]})
    assert "Dense" in refused(lunar, "mine.toml")


def test_a_run_that_diverges_says_when_and_nothing_else(lunar, recwarn):
    args = ["digits-cnn", *SMALL, "--set", "optimizer=sgd", "--set", "optimizer.lr=1e30", "--out", "run"]
    code, _, err = lunar("train", *args)
    assert code == 2
    assert "Traceback" not in err
    assert [w for w in recwarn if w.category is RuntimeWarning] == []  # NumPy's, of overflows
    assert re.search(r"epoch 1, batch \d+", err)


# -- stopped and resumed -----------------------------------------------------------------------------------------------


def _stopping(at):
    """A callback that sends SIGTERM in batch ``at``."""

    class Stopping(Callback):
        def lunar_batch_end(self, ctx):
            if ctx.clock.step == at:
                signal.raise_signal(signal.SIGTERM)

    return Stopping


def test_the_same_command_goes_on_with_a_stopped_run(lunar, registry, monkeypatch):
    command = ("train", "digits-cnn", *SMALL, "--set", "callbacks=['stopping']", "--seed", "3")
    registry.register("callback", "stopping", _stopping(10**9))
    assert lunar(*command)[0] == 0
    (whole,) = Path("runs").iterdir()
    expected = lc.load(whole / "weights.safetensors")

    registry.register("callback", "stopping", _stopping(50))
    with pytest.raises(SystemExit) as caught:
        lunar(*command)
    assert caught.value.code == 143
    (stopped,) = set(Path("runs").iterdir()) - {whole}
    assert not (stopped / "test.json").exists()

    registry.register("callback", "stopping", _stopping(10**9))
    code, out, _ = lunar(*command)
    assert code == 0
    assert f"going on with {stopped}" in out
    assert set(Path("runs").iterdir()) == {whole, stopped}
    found = lc.load(stopped / "weights.safetensors")
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
    assert figures(stopped) == figures(whole)

    code, out, _ = lunar(*command)  # it is finished: the next one is a new run
    assert code == 0
    assert "going on" not in out
    assert len(list(Path("runs").iterdir())) == 3


def test_fresh_begins_anew(lunar, registry):
    command = ("train", "digits-cnn", *SMALL, "--set", "callbacks=['stopping']")
    registry.register("callback", "stopping", _stopping(5))
    with pytest.raises(SystemExit):
        lunar(*command)
    registry.register("callback", "stopping", _stopping(10**9))
    code, out, _ = lunar(*command, "--fresh")
    assert code == 0
    assert "going on" not in out
    assert len(list(Path("runs").iterdir())) == 2


def test_another_recipe_does_not_go_on_with_a_stopped_run(lunar, registry):
    command = ("train", "digits-cnn", *SMALL, "--set", "callbacks=['stopping']", "--out", "run")
    registry.register("callback", "stopping", _stopping(5))
    with pytest.raises(SystemExit):
        lunar(*command)
    registry.register("callback", "stopping", _stopping(10**9))
    code, _, err = lunar(*command, "--set", "optimizer.lr=0.001")
    assert code == 2
    assert "already holds a run" in err
    assert lunar(*command)[0] == 0


def test_the_directory_of_a_stopped_run_names_it(lunar, registry):
    command = ("train", "digits-cnn", *SMALL, "--set", "callbacks=['stopping']", "--out", "run")
    registry.register("callback", "stopping", _stopping(5))
    with pytest.raises(SystemExit):
        lunar(*command)
    registry.register("callback", "stopping", _stopping(10**9))
    code, out, _ = lunar("train", "run")
    assert code == 0
    assert "going on with run" in out
