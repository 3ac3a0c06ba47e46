"""A run that is stopped anywhere and resumed gives bit for bit what the uninterrupted run gives."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from resuming import StopAt, classes, digests, make_trainer, network, resumed
from training_parts import plugin

import lunar_core as lc
from lunar_core.errors import SerializationError, StateError
from lunar_data import Loader
from lunar_training import Checkpointer, LossScaler, Trainer


def network_without_norm():
    return network(norm=False)  # a part of a batch may be a single example


def restless():
    return LossScaler(2.0**20, every=3, maximum=2.0**30)  # overflows at first, and is raised all the time


CASES = {
    "dropout": {},
    "accumulation": {"micro_batches": 3, "model": network_without_norm},
    "schedule": {"scheduler": lc.schedulers["cosine"]},
    "plateau": {"scheduler": lambda: lc.schedulers["plateau"](patience=0, monitor="val_loss")},
    "ema": {"optimizer": lambda m: lc.optimizers.EMA(lc.optimizers.AdamW(m.parameters(), lr=1e-2), decay=0.9)},
    "swa": {
        "optimizer": lambda m: lc.optimizers.SWA(lc.optimizers.SGD(m.parameters(), lr=1e-2, momentum=0.9), start=3)
    },
    "schedule_free": {"optimizer": lambda m: lc.optimizers["schedule_free_adamw"](m.parameters(), lr=1e-2)},
    "sam": {"optimizer": lambda m: lc.optimizers.SAM(lc.optimizers.SGD(m.parameters(), lr=1e-2))},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16", "loss_scale": restless},
    "clipping": {"clip_norm": 0.5},
    "two_optimizers": {
        "optimizer": lambda m: [
            lc.optimizers.SGD(m[0].parameters(), lr=1e-2),
            lc.optimizers.AdamW(m[-1].parameters(), lr=1e-3),
        ]
    },
}
CASES["all_at_once"] = {
    **CASES["ema"],
    **CASES["schedule"],
    **CASES["accumulation"],
    **CASES["bfloat16"],
    "clip_norm": 1.0,
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_at_random_steps_equals_the_uninterrupted_one(case, tmp_path):
    options = CASES[case]
    data, held = classes(), classes(seed=4, n=33)
    fit = {"val": held, "epochs": 4, "batch_size": 8}

    lc.seed(11)
    whole = make_trainer(**options)
    whole.fit(data, out=tmp_path / "whole", **fit)
    expected = digests(whole)

    draw = np.random.default_rng(sorted(CASES).index(case))
    parts = options.get("micro_batches", 1) * (2 if case == "sam" else 1)
    for trial in range(2):
        first, second = draw.integers(1, 15, 2)
        stops = [int(first) * parts, int(second) * parts]
        found = digests(resumed(lambda: make_trainer(**options), data, stops, tmp_path / f"run{trial}", **fit))
        assert found == expected, f"stopped after {stops}"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_augmentation_and_workers_goes_on_where_it_was(workers, tmp_path):
    x, y = classes()

    def noisy(example, rng):
        return example[0] + rng.normal(0, 0.1, example[0].shape).astype(np.float32), example[1]

    def loader():
        return Loader((x, y), batch_size=8, shuffle=True, transform=noisy, workers=workers)

    lc.seed(11)
    whole = make_trainer()
    with loader() as batches:
        whole.fit(batches, epochs=3)
    with loader() as batches:
        found = resumed(make_trainer, batches, [5, 9], tmp_path, epochs=3)
    assert digests(found) == digests(whole)


def test_checkpoints_at_every_step_change_no_bit(tmp_path):
    for optimizer in (CASES["ema"]["optimizer"], CASES["schedule_free"]["optimizer"]):
        found = []
        for every in ("1step", "1ep", False):
            lc.seed(2)
            trainer = make_trainer(optimizer=optimizer)
            trainer.fit(
                classes(), epochs=2, batch_size=8, out=tmp_path / f"{every}-{len(found)}-{optimizer}", checkpoint=every
            )
            found.append(digests(trainer))
        assert found[0] == found[1] == found[2]


def test_a_signal_during_evaluation_repeats_only_the_evaluation(tmp_path):
    data, fit = classes(), {"val": classes(seed=4), "epochs": 3, "batch_size": 8, "val_batch_size": 8}
    lc.seed(11)
    whole = make_trainer()
    whole.fit(data, **fit)

    lc.seed(11)
    trainer, seen = make_trainer(), []

    def lunar_eval_batch_start(self):
        seen.append(1)
        if len(seen) == 11:
            signal.raise_signal(signal.SIGTERM)

    trainer.plugins.append(plugin(lunar_eval_batch_start=lunar_eval_batch_start))
    with pytest.raises(SystemExit) as caught:
        trainer.fit(data, out=tmp_path, **fit)
    assert caught.value.code == 143
    assert (trainer.context.clock.epoch, trainer.context.clock.batch) == (1, 8)
    lc.seed(11)
    again = make_trainer()
    again.fit(data, out=tmp_path, resume=True, **fit)
    assert digests(again) == digests(whole)


def test_an_interrupt_saves_and_raises_keyboard_interrupt(tmp_path):
    signals = []
    trainer = make_trainer()
    trainer.plugins += [StopAt(5, signal.SIGINT), plugin(lunar_signal=lambda self, signum: signals.append(signum))]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(classes(), epochs=2, batch_size=8, out=tmp_path)
    assert signals == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is before
    assert Checkpointer(tmp_path / "checkpoints").load().state["clock"]["step"] == 5


def test_a_second_interrupt_is_obeyed_at_once(tmp_path):
    trainer, steps = make_trainer(), []

    def lunar_after_step(self, step):
        steps.append(step)
        if step == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer.plugins.append(plugin(lunar_after_step=lunar_after_step))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(classes(), epochs=2, batch_size=8, out=tmp_path, checkpoint="1step")
    assert steps == [1, 2, 3]
    assert Checkpointer(tmp_path / "checkpoints").load().state["clock"]["step"] == 2


def test_a_signal_before_the_first_batch_saves_the_beginning(tmp_path):
    trainer = make_trainer()
    trainer.plugins.append(plugin(lunar_fit_start=lambda self: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit):
        trainer.fit(classes(), epochs=2, batch_size=8, out=tmp_path)
    assert Checkpointer(tmp_path / "checkpoints").load().state["clock"]["step"] == 0


def test_max_time_stops_within_an_epoch_and_the_run_goes_on_there(tmp_path):
    fit = {"val": classes(seed=4), "epochs": 3, "batch_size": 8}
    lc.seed(11)
    whole = make_trainer()
    whole.fit(classes(), **fit)
    lc.seed(11)
    part = make_trainer()
    part.fit(classes(), out=tmp_path, max_time="11step", **fit)
    assert part.context.stop_reason == "max_time of 11step is over"
    lc.seed(11)
    rest = make_trainer()
    rest.fit(classes(), out=tmp_path, resume=True, **fit)
    assert digests(rest) == digests(whole)


def test_a_plugin_that_stops_a_run_within_an_epoch_leaves_it_to_be_continued_there(tmp_path):
    fit = {"val": classes(seed=4), "epochs": 3, "batch_size": 8}
    lc.seed(11)
    whole = make_trainer()
    whole.fit(classes(), **fit)
    lc.seed(11)
    stopper = plugin(lunar_batch_end=lambda self, ctx: ctx.stop("enough") if ctx.clock.step == 13 else None)
    make_trainer(plugins=[stopper]).fit(classes(), out=tmp_path, **fit)
    lc.seed(11)
    rest = make_trainer()
    rest.fit(classes(), out=tmp_path, resume=True, **fit)
    assert digests(rest) == digests(whole)


def test_weights_that_are_lost_are_not_saved(tmp_path):
    def lunar_after_step(self, step, ctx):
        if step == 5:
            next(iter(ctx.model.parameters())).data[...] = np.nan

    lost = make_trainer(plugins=[plugin(lunar_after_step=lunar_after_step), lc.callbacks["terminate_on_nan"]()])
    lost.fit(classes(), epochs=2, batch_size=8, out=tmp_path, checkpoint="4step")
    assert Checkpointer(tmp_path / "checkpoints").load().state["clock"]["step"] == 4


def test_a_plugin_may_choose_what_is_removed(tmp_path):
    keep_all = plugin(lunar_prune=lambda self, candidates: [])
    make_trainer(plugins=[keep_all]).fit(classes(), epochs=1, batch_size=8, out=tmp_path, checkpoint="1step")
    assert len(Checkpointer(tmp_path / "checkpoints").names()) == 9  # of eight steps and of the epoch


def test_a_finished_run_is_not_trained_further(tmp_path):
    lc.seed(1)
    trainer = make_trainer()
    trainer.fit(classes(), epochs=2, out=tmp_path)
    again = make_trainer()
    history = again.fit(classes(), epochs=2, out=tmp_path, resume=True)
    assert len(history) == 2
    assert digests(again)["weights"] == digests(trainer)["weights"]
    longer = make_trainer()
    assert len(longer.fit(classes(), epochs=3, out=tmp_path, resume=True)) == 3


def test_early_stopping_goes_on_with_what_it_knew(tmp_path):
    def make():
        return make_trainer(plugins=[lc.callbacks["early_stopping"](patience=3, restore_best=True, monitor="val_loss")])

    fit = {"val": classes(seed=4, n=40), "epochs": 40, "batch_size": 16}
    lc.seed(11)
    whole = make()
    whole.fit(classes(), **fit)
    assert len(whole.history) < 40
    found = resumed(make, classes(), [7, 9], tmp_path, **fit)
    assert digests(found)["log"] == digests(whole)["log"]
    assert digests(found)["weights"] == digests(whole)["weights"]
    after = make()
    assert len(after.fit(classes(), out=tmp_path, resume=True, **fit)) == len(whole.history)


def test_the_csv_file_of_a_resumed_run_is_that_of_the_uninterrupted_one(tmp_path):
    def make():
        return make_trainer(plugins=[lc.callbacks["csv_logger"](event="step", every="2step")])

    fit = {"epochs": 3, "batch_size": 8}
    lc.seed(11)
    make().fit(classes(), out=tmp_path / "whole", **fit)
    resumed(make, classes(), [5, 9], tmp_path / "parts", **fit)
    assert (tmp_path / "parts/metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()


def test_an_order_that_a_plugin_chose_is_kept(tmp_path):
    drawn = []

    def lunar_sampler_order(self, epoch, indices):
        drawn.append(epoch)
        return np.random.permutation(indices)  # NumPy's global generator is part of the state

    def make():
        return make_trainer(plugins=[plugin(lunar_sampler_order=lunar_sampler_order)])

    np.random.seed(1)
    lc.seed(11)
    whole = make()
    whole.fit(classes(), epochs=3, batch_size=8)
    np.random.seed(1)
    found = resumed(make, classes(), [11], tmp_path, epochs=3, batch_size=8)
    assert digests(found) == digests(whole)


def test_frozen_parameters_stay_frozen(tmp_path):
    trainer = make_trainer()
    trainer.plugins.append(
        plugin(lunar_epoch_start=lambda self, epoch, ctx: ctx.model.freeze("0") if epoch == 0 else None)
    )
    trainer.fit(classes(), epochs=1, out=tmp_path)
    again = make_trainer()
    again.fit(classes(), epochs=2, out=tmp_path, resume=True)
    names = [name for name, p in again.model.named_parameters() if not p.requires_grad]
    assert names == ["0.weight", "0.bias"]


def test_a_trainer_takes_a_checkpoint_over_for_evaluation(tmp_path):
    lc.seed(3)
    trainer = make_trainer(**CASES["ema"])
    trainer.fit(classes(), epochs=2, out=tmp_path)
    expected = trainer.evaluate(classes(seed=9))
    other = make_trainer(**CASES["ema"]).resume(tmp_path)
    assert other.evaluate(classes(seed=9)) == expected


def test_the_weights_that_are_shipped_are_the_averaged_ones(tmp_path):
    lc.seed(3)
    trainer = make_trainer(**CASES["ema"])
    trainer.fit(classes(), epochs=2, out=tmp_path)
    trainer.optimizer.eval()
    shipped = lc.load(tmp_path / "weights.safetensors")
    averaged = lc.load(Checkpointer(tmp_path / "checkpoints").load().path / "averaged.safetensors")
    trained = lc.load(Checkpointer(tmp_path / "checkpoints").load().path / "model.safetensors")
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(shipped[name], array)
        np.testing.assert_array_equal(averaged[name], array)
    assert any(not np.array_equal(trained[name], shipped[name]) for name in trained)


def test_another_data_set_or_batch_size_is_refused(tmp_path):
    make_trainer().fit(classes(), epochs=1, out=tmp_path, batch_size=8)
    with pytest.raises(StateError, match="examples=61.*examples=50"):
        make_trainer().fit(classes(n=50), epochs=2, out=tmp_path, batch_size=8, resume=True)
    with pytest.raises(StateError, match="batches=8"):
        make_trainer().fit(classes(), epochs=2, out=tmp_path, batch_size=16, resume=True)


def test_another_optimizer_is_named(tmp_path):
    make_trainer().fit(classes(), epochs=1, out=tmp_path)
    with pytest.raises(StateError, match="optimizer 'adamw' of lunarlearn, but optimizers.0 is 'sgd'"):
        make_trainer(optimizer=lambda m: lc.optimizers.SGD(m.parameters(), lr=0.1)).fit(
            classes(), epochs=2, out=tmp_path, resume=True
        )


def test_resume_without_a_place_or_a_checkpoint_says_so(tmp_path):
    with pytest.raises(lc.errors.HyperparameterError, match="resume=True"):
        make_trainer().fit(classes(), resume=True)
    with pytest.raises(SerializationError, match="no checkpoint"):
        Trainer(network(), "cross_entropy").resume(tmp_path)


def test_hooks_add_to_a_checkpoint_and_read_it_back(tmp_path):
    seen = []

    def lunar_checkpoint_collect(self, state, what):
        return {**state, "mine": {"n": 5}} if what == "checkpoint" else None

    def lunar_checkpoint_restore(self, state):
        seen.append(state["mine"])

    hooks = plugin(lunar_checkpoint_collect=lunar_checkpoint_collect, lunar_checkpoint_restore=lunar_checkpoint_restore)
    make_trainer(plugins=[hooks]).fit(classes(), epochs=1, out=tmp_path)
    make_trainer(plugins=[hooks]).fit(classes(), epochs=2, out=tmp_path, resume=True)
    assert seen == [{"n": 5}]
