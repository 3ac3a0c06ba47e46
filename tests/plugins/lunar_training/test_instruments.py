"""Instruments: their figures against plain NumPy, and that looking changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from instrument_parts import images, network, run
from training_parts import plugin

import lunar_core as lc
from lunar_core.errors import GradientError
from lunar_training.callbacks.activation_stats import dead_share
from lunar_training.callbacks.watching import histogram, subnormal_share, summary

READERS = [
    "activation_stats", "gradient_stats", "weight_stats", "throughput", "timer", "memory", "profiler", "gradient_check",
    "json_logger", "csv_logger", "sqlite_logger", "diagnosis", "flight_recorder", "lr_monitor", "progress",
]  # fmt: skip


def made(name, **options):
    if name in ("activation_stats", "gradient_stats", "weight_stats", "throughput", "timer", "memory"):
        options = {"every": "2step", **options}
    if name == "progress":
        options = {"mode": "off", **options}
    return lc.create("callback", name, **options)


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def plain():
    return run()[0]


@pytest.mark.parametrize("name", READERS)
def test_looking_changes_no_bit_of_the_weights(name, plain):
    t, _ = run(made(name))
    assert t.context.bus is None and len(t.history) == 2
    for key, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(t.model.state_dict()[key], array)
    assert t.history["loss"] == plain.history["loss"]


# --- statistics ------------------------------------------------------------------------------------------------------


def test_the_summary_of_an_array():
    array = np.array([[1.0, -3.0], [0.0, 2.0]], np.float32)
    assert summary(array) == pytest.approx(
        {"mean": 0.0, "std": np.sqrt(3.5), "norm": np.sqrt(14), "max": 3.0, "nonfinite": 0}
    )
    assert summary(np.array([1.0, np.nan, np.inf]))["nonfinite"] == 2
    assert summary(np.full(4000, 16.0, np.float16))["norm"] == pytest.approx(16 * np.sqrt(4000))  # beyond float16


def test_the_histogram_counts_every_finite_value():
    values = np.random.default_rng(0).normal(size=1000)
    found = histogram(np.append(values, [np.nan, np.inf]), 20)
    counts, edges = np.histogram(values, 20)
    assert found == {"edges": edges.tolist(), "counts": counts.tolist()}


@pytest.mark.parametrize("dtype, small", [(np.float32, 1e-40), (np.float64, 1e-310)])
def test_subnormal_values_are_counted_by_their_bits(dtype, small):
    array = np.array([0.0, small, -small, np.finfo(dtype).tiny, 1.0, np.inf, np.nan, -0.0], dtype)
    assert subnormal_share(array) == 2 / 8


def test_a_unit_is_dead_when_it_is_zero_for_all_examples_and_positions():
    array = np.ones((3, 4, 2, 2), np.float32)
    array[:, 1] = 0
    array[0, 2] = 0
    assert dead_share(array) == 1 / 4
    assert dead_share(np.array([[0.0, 1.0], [0.0, 0.0]])) == 0.5


def test_gradient_stats_are_those_of_the_gradients():
    def lunar_grads_ready(self, grads, ctx):
        if ctx.clock.step == 0:
            self.seen.update({name: g.copy() for name, g in grads.items()})

    spy = plugin(lunar_grads_ready=lunar_grads_ready, seen={})
    _, records = run(made("gradient_stats", every="3step", bins=5), spy, epochs=1)
    grads = spy.seen
    stats = records.of("stats")
    assert [r["step"] for r in stats] == [1, 4]
    first = stats[0]
    assert first["grad_norm"] == pytest.approx(np.sqrt(sum((g.astype(float) ** 2).sum() for g in grads.values())), 1e-5)
    for name, g in grads.items():
        assert first[f"grad_mean/{name}"] == pytest.approx(float(g.mean()))
        assert first[f"grad_max/{name}"] == float(abs(g).max())
        assert sum(first[f"grad_hist/{name}"]["counts"]) == g.size


def test_weight_stats_say_how_far_a_step_went():
    _, records = run(made("weight_stats", only=("7.*",)), optimizer={"@optimizer": "sgd", "lr": 0.1}, epochs=1)
    _, gradients = run(made("gradient_stats", only=("7.*",)), optimizer={"@optimizer": "sgd", "lr": 0.1}, epochs=1)
    first, grad = records.of("stats")[0], gradients.of("stats")[0]
    assert {key.partition("/")[2] for key in first if "/" in key} == {"7.weight", "7.bias"}
    lc.seed(0)
    model = network()
    model(lc.Tensor(images()[0][:2]))
    before = np.linalg.norm(model.state_dict()["7.weight"])
    assert first["update_ratio/7.weight"] == pytest.approx(0.1 * grad["grad_norm/7.weight"] / before, rel=1e-3)


def test_activation_stats_are_those_of_the_outputs_of_training_batches_only():
    seen = []

    def lunar_module_forward_post(self, path, outputs, ctx):
        if path == "2" and ctx.stage == "train":
            seen.append(outputs.data.copy())

    spy = plugin(lunar_module_forward_post=lunar_module_forward_post, band="reader", draws=False)
    _, records = run(made("activation_stats", only=("2", "Dense"), bins=3), spy, epochs=1, val=images(16))
    stats = records.of("stats")
    assert {key.partition("/")[2] for key in stats[0] if "/" in key} == {"2", "5", "7"}
    assert [r["act_mean/2"] for r in stats] == [pytest.approx(float(a.mean())) for a in seen[::2]]
    assert stats[0]["act_zeros/2"] == float((seen[0] == 0).mean()) > 0


def test_throughput_and_timer_account_for_the_time():
    timer = made("timer")
    _, records = run(made("throughput"), timer, epochs=3, val=images(16))
    speed = [r for r in records.of("stats") if "samples_per_second" in r]
    assert all(r["samples_per_second"] == pytest.approx(16 * r["steps_per_second"]) for r in speed)
    assert all(0 <= r["wait_share"] <= 1 for r in speed)
    assert timer.steps == 18 and all(s > 0 for s in timer.seconds.values())
    assert "backward" in timer.report()
    assert any("time/forward" in r for r in records.of("stats"))


def test_memory_counts_what_lies_there():
    t, records = run(made("memory"), epochs=1)
    row = records.of("stats")[0]
    size = sum(p.data.nbytes for p in t.model.parameters())
    assert row["memory/parameters"] == row["memory/gradients"] == size
    assert row["memory/optimizer"] >= 2 * size  # Adam's two moments
    kept = {key.partition("/")[2]: n for key, n in row.items() if key.startswith("memory_kept/")}
    assert sum(kept.values()) == row["memory/activations"] <= row["memory/peak"]
    assert kept["2"] >= 16 * 4 * 36 * 4  # the convolution's part after the ReLU, which its gradient needs
    assert row["memory/process"] > 10**7


# --- profiler --------------------------------------------------------------------------------------------------------


def test_the_profiler_writes_a_trace_in_which_modules_hold_their_ops(tmp_path):
    profiler = made("profiler", path=str(tmp_path / "trace.json"), wait=1, steps=2)
    run(profiler, epochs=1)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sorted({e["args"]["step"] for e in events if e["name"] == "batch"}) == [2, 3]
    assert all(e["ph"] == "X" and e["dur"] >= 0 and e["ts"] >= 0 for e in events)
    conv = next(e for e in events if e["name"] == "conv2d")
    assert conv["args"]["module"] == "0" and conv["args"]["shapes"][0] == [16, 1, 6, 6]
    module = next(e for e in events if e["name"] == "0" and e["cat"] == "module")
    assert module["ts"] <= conv["ts"] and conv["ts"] + conv["dur"] <= module["ts"] + module["dur"] + 1e-3
    assert profiler.ops["linear"][0] == profiler.ops["linear.backward"][0] == 4
    assert "conv2d.backward" in profiler.report()


# --- gradient check --------------------------------------------------------------------------------------------------


def test_the_gradient_check_accepts_a_right_model():
    check = made("gradient_check")
    layers = lc.layers
    model = layers.Sequential(
        layers.Conv2D(4, 3), lc.activations.Tanh(), layers.Flatten(),
        layers.Dropout(0.2), layers.Dense(4),
    )  # fmt: skip
    run(check, epochs=1, model=model)
    assert check.worst < 1e-6
    run(check, epochs=1)  # kinks, and a bias that batch normalisation takes out
    assert check.worst < check.tolerance


class Scaled(lc.layers.Dense):
    """A layer with a factor in its output that its gradient does not know of."""

    def forward(self, x):
        out = super().forward(x)
        return out + out.detach() * self.weight.detach().sum()


def test_the_gradient_check_names_the_parameter_whose_gradient_is_wrong():
    layers = lc.layers
    model = layers.Sequential(layers.Flatten(), Scaled(16), layers.Dense(4))
    with pytest.raises(GradientError, match=r"gradient check: 1\.weight: its gradient says"):
        run(made("gradient_check"), model=model)


# --- loggers ---------------------------------------------------------------------------------------------------------


def test_json_lines_hold_every_record_that_was_asked_for(tmp_path):
    _, records = run(
        made("json_logger", path=str(tmp_path / "all.jsonl")),
        made("json_logger", path=str(tmp_path / "epochs.jsonl"), events=("epoch",)),
        made("gradient_stats", bins=3),
        val=images(16),
    )
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [r["event"] for r in records.all]
    assert [line.get("loss") for line in lines] == [r.get("loss") for r in records.all]
    assert [json.loads(line)["epoch"] for line in (tmp_path / "epochs.jsonl").read_text().splitlines()] == [1, 2]


def test_tensorboard_reads_what_was_logged(tmp_path, plain):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    t, _ = run(made("tensorboard_logger", path=str(tmp_path / "tb")), made("gradient_stats", bins=3))
    for key, array in plain.model.state_dict().items():
        np.testing.assert_array_equal(t.model.state_dict()[key], array)
    (path,) = (tmp_path / "tb").iterdir()
    data, scalars, histograms, place = path.read_bytes(), {}, set(), 0
    while place < len(data):  # length (8 bytes), checksum (4), the event, checksum (4)
        size = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + size])
        place += 16 + size
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
            elif value.HasField("histo"):
                histograms.add(value.tag)
    assert [step for step, _ in scalars["epoch/loss"]] == [1, 2] and len(scalars["step/loss"]) == 12
    assert [v for _, v in scalars["epoch/loss"]] == pytest.approx(t.history["loss"], rel=1e-6)
    assert "grad_norm" in scalars and "grad_hist/0.weight" in histograms


def test_tensorboard_without_its_package_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.warns(UserWarning, match="needs the package tensorboardX"):
        run(made("tensorboard_logger"), epochs=1)
