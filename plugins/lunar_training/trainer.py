"""The Trainer: fit, evaluate, predict."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lunar_core import random as streams
from lunar_core.component import hyperparameter_error
from lunar_core.dtypes import as_dtype, is_floating
from lunar_core.errors import DataError, HyperparameterError, SerializationError
from lunar_core.hooks import Bus, Pairs
from lunar_core.modes import modes, no_grad
from lunar_core.module import Module
from lunar_core.tensor import Tensor
from lunar_core.training_options import regularizers_of, schedulers_of

from . import resolve, saving
from .callbacks.history import HistoryRecorder
from .callbacks.progress import Progress
from .callbacks.run_directory import RunDirectory
from .context import Context
from .custom import custom_loop
from .data import Feed, Loader, Placer, as_source, epoch_order, loader_of, split_off
from .enginehooks import engine_hooks
from .evaluation import evaluate, evaluating, figures, predict, switching
from .history import History
from .loop import TrainLoop
from .precision import precision_of, scaler_of
from .rundir import describe
from .schedules import bind_schedulers
from .signals import Interrupted, deferred
from .states import put_state


class Trainer:
    """Trains, evaluates and applies a model; everything that happens passes the hooks of :mod:`lunar_core.hookspecs`.

    - ``model``: a Module, built or not, or a registry name.
    - ``loss``: a Loss, its name or configuration, or a function of (pred, target) that is a mean over the examples.
    - ``optimizer``: an optimizer, its name or configuration (made with ``model.parameters()``), or a list of them, each
      of which steps in turn. Only ``evaluate`` and ``predict`` do without.
    - ``scheduler``: a scheduler, its name or configuration, or a list. One that is bound to nothing is bound to the
      learning rate of the first optimizer when ``fit`` begins. Its ``unit`` says when it is advanced, by default after
      each optimizer step; where it asks for the length of the run, that is all epochs so far and to come.
    - ``metrics``: metrics or names; figures carry the metric's name.
    - ``regularizers``: penalties that are added to the loss of each step; the figure ``loss`` is without them,
      ``penalty`` is their mean over the steps. Constraints, such as ``"max_norm"``, are applied after each step.
    - ``plugins``: objects with hooks, for this trainer's runs only; names mean callbacks. Installed hook plugins take
      part anyway, unless ``installed_plugins=False``.
    - ``seed``: calls ``lc.seed`` before the first ``fit``; ``None`` leaves the randomness as it is.
    - ``device``: where the model and the batches go; default: where the model is.
    - ``dtype``: what floating data is converted to; default: that of the model's parameters, or the default dtype for a
      model that is not built yet.
    - ``clip_norm``: largest global L2 norm of the gradients.
    - ``micro_batches``: cut each batch into so many parts, one after the other, for the same step in less memory.
    - ``precision``: ``"bfloat16"`` or ``"float16"`` runs the model and the loss under ``lc.autocast``: parameters and
      gradients keep their dtype, products are computed in the low one.
    - ``loss_scale``: a :class:`~lunar_training.precision.LossScaler`, ``"dynamic"``, or a number that stays. Default:
      dynamic under ``precision="float16"``, otherwise none. A step whose gradients are not finite is left out.
    - ``step``: a function of (run, batch) that takes the place of forward, backward and step, for several optimizers in
      turn, several losses and the like; see :mod:`lunar_training.custom`.
    - ``progress``: mode of the progress display, see :class:`~lunar_training.callbacks.progress.Progress`.

    What the model was told by ``train_with`` (see :class:`~lunar_core.module.Module`) is followed, by optimizers that are
    made from a name or a configuration and by those made with ``model.parameters()``. Optimizers that need more than
    gradients (``lbfgs``, ``sam``, ``adahessian``) get the closure that they need. Where an optimizer trains other weights
    than those to judge (averages, ``schedule_free_sgd``), evaluation, prediction and the files of weights have the latter;
    after ``fit`` the model has those of training, until ``trainer.optimizer.eval()`` puts the others in their place.

    ``history`` holds the figures of all epochs so far and ``context`` what hooks get as ``ctx``.
    """

    def __init__(
        self,
        model: Any,
        loss: Any = None,
        optimizer: Any = None,
        *,
        metrics: Any = (),
        scheduler: Any = None,
        regularizers: Any = (),
        plugins: Any = (),
        installed_plugins: bool = True,
        seed: int | None = None,
        device: str | None = None,
        dtype: Any = None,
        clip_norm: float | None = None,
        micro_batches: int = 1,
        precision: str | None = None,
        loss_scale: Any = None,
        step: Any = None,
        progress: str = "auto",
    ) -> None:
        model = resolve.component("model", model)
        if not isinstance(model, Module):
            raise HyperparameterError(f"Trainer: model must be a Module or the name of a model, got {model!r}")
        _positive("micro_batches", micro_batches)
        if clip_norm is not None and not (isinstance(clip_norm, (int, float)) and clip_norm > 0):
            raise hyperparameter_error("Trainer", "clip_norm", clip_norm, "a number > 0 or None")
        self.loss = None if loss is None else resolve.loss_of(loss)
        self.metrics = resolve.metrics_of(metrics)
        self.regularizers = resolve.regularizers_of(regularizers)
        self.plugins = [Progress(mode=progress), HistoryRecorder(), *resolve.plugins_of(plugins)]
        self.installed_plugins = installed_plugins
        self.seed = seed
        self.device = device
        self.dtype = None if dtype is None else as_dtype(dtype)
        self.clip_norm = clip_norm
        self.micro_batches = micro_batches
        self.history = History()
        self.context = Context(model, trainer=self)
        self.context.history = self.history
        self.context.precision = precision_of(precision)
        self.context.scaler = scaler_of(loss_scale, self.context.precision)
        self.context.optimizers = resolve.optimizers_of(optimizer, model)
        given = scheduler if isinstance(scheduler, (list, tuple)) else [] if scheduler is None else [scheduler]
        if given and not self.context.optimizers:
            raise HyperparameterError("Trainer: a scheduler needs an optimizer")
        self.schedulers = [resolve.component("scheduler", item) for item in given]
        self._own_schedules: list[Any] | None = None
        self.step = step
        self._seeded = False
        self._pending: Any = None  # the checkpoint that resume() found, until a fit goes on from it

    @property
    def model(self) -> Any:
        """The Module that is trained."""
        return self.context.model

    @property
    def optimizer(self) -> Any:
        """The first optimizer."""
        return self.context.optimizer

    # -- fit ---------------------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        val: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        drop_last: bool = False,
        val_batch_size: int | None = None,
        out: Any = None,
        checkpoint: Any = None,
        resume: Any = False,
        max_time: Any = None,
    ) -> History:
        """Train for ``epochs`` more epochs and return the history.

        - ``data``: ``(inputs, targets)`` or ``(inputs, targets, weights)``, a Dataset, or a ``lunar_data.Loader``, whose
          own batches are taken in its own order: ``batch_size``, ``shuffle`` and ``drop_last`` are then not asked.
        - ``val``: the same, evaluated after each epoch; a fraction of ``data`` to hold out; or a dict of names to data,
          whose figures carry the name as a prefix in the place of ``val``.
        - ``shuffle``: take the examples of epoch e in the permutation drawn for (seed, "shuffle", e), whatever else has
          been drawn.
        - ``drop_last``: leave out a last batch that is not full.
        - ``val_batch_size``: default, the larger of ``batch_size`` and 256. It changes no figure.
        - ``out``: directory to write the run to (:mod:`lunar_training.rundir`); it must not hold another run.
        - ``checkpoint``: how often to take one, such as ``"1ep"``, ``"500step"`` or ``"10min"``, or a
          :class:`~lunar_training.checkpoint.Checkpointer`; ``False``: never. By default, where there is an ``out``, after
          each epoch, but not within 10 s of the last one. They lie in ``out/checkpoints``, the newest two, and are written
          in the background. The end of the run and a signal take one as well.
        - ``resume``: ``True`` goes on from the newest checkpoint of ``out`` that is whole, and begins anew where there is
          none; a path goes on from that one. What follows is bit for bit what would have followed without the
          interruption, for the same arguments; ``epochs`` counts from where the interrupted ``fit`` began.
        - ``max_time``: stop after this much of the clock, ``"30min"`` or in another unit, the time before a resumption
          included. The last epoch may then be cut short; a resumed run goes on within it.

        SIGTERM and SIGINT end the run after the batch at hand: a checkpoint is taken, then SystemExit(143) or
        KeyboardInterrupt is raised. A second SIGINT is obeyed at once.

        Raises :class:`~lunar_core.errors.DataError` for data that cannot be used, before anything is changed, and
        :class:`~lunar_training.errors.DivergenceError` when the loss is lost.
        """
        if (self.loss is None and self.step is None) or not self.context.optimizers:
            missing = "an optimizer" if self.loss is not None or self.step is not None else "a loss"
            raise HyperparameterError(
                f"fit() needs {missing}", hint='Trainer(model, loss="cross_entropy", optimizer="adam")'
            )
        source = as_source(data, "training data")
        fraction = val if isinstance(val, (int, float)) and not isinstance(val, bool) else None
        held = _validation_sources(val) if fraction is None else {}
        settings: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "drop_last": drop_last,
        }
        settings |= {"clip_norm": self.clip_norm, "micro_batches": self.micro_batches, "val_batch_size": val_batch_size}

        checkpointer = saving.checkpointer_of(checkpoint, out)
        loaded = self._to_resume(resume, checkpointer)
        if self.seed is not None and not self._seeded:
            streams.seed(self.seed)
        self._seeded = True
        if loaded is not None:
            loaded.restore_random()  # the split is to be the same
        if fraction is not None:
            source, held["val"] = split_off(source, fraction)
        extra = [RunDirectory(path=str(out), resume=bool(resume))] if out is not None else []
        with deferred() as stop:
            saver = saving.Saver(self, checkpointer, stop, max_time, loaded)
            self._run(extra, source, held, settings, saver)
        return self.history

    def resume(self, directory: Any) -> Trainer:
        """Take over the newest whole checkpoint in ``directory``, a run's or a checkpoint's; returns the trainer.

        ``evaluate`` and ``predict`` then use its weights, and the next ``fit`` goes on exactly where it was taken. Raises
        :class:`~lunar_core.errors.SerializationError` where there is none that can be read.
        """
        self._pending = saving.find(directory)
        if self._pending is None:
            raise SerializationError(f"there is no checkpoint in {directory}")
        if self.context.model.built:
            self._take_over(self._pending)
        return self

    def _to_resume(self, resume: Any, checkpointer: Any) -> Any:
        """The checkpoint that a ``fit`` goes on from, or ``None``."""
        pending, self._pending = self._pending, None
        if resume is False or resume is None:
            return pending
        if resume is not True:
            return saving.find(resume)
        if checkpointer is None:
            raise HyperparameterError("fit(): resume=True does not say from where", hint='fit(..., out="runs/a")')
        return checkpointer.load()

    def _take_over(self, loaded: Any) -> None:
        """Weights and optimizers of a checkpoint, for use before the next ``fit``."""
        put_state(self.context.model, loaded.state.get("model"), str(loaded.path))
        put_state(self.context.optimizers, loaded.state.get("optimizers"), f"{loaded.path}: optimizers")

    def _run(self, extra: list[Any], source: Any, held: dict[str, Any], settings: dict[str, Any], saver: Any) -> None:
        """A ``fit`` between the first hook and the last."""
        ctx, stop, out = self.context, saver.stop, extra or None
        ctx.stop_reason = None
        ctx.run_dir = None
        bus = self._open(extra)
        ctx.interrupt = stop
        try:
            outcome = ["completed"]
            with bus.pairs() as pairs, engine_hooks(ctx):
                settings = self._configure(bus, settings, source, out)
                pairs.open("setup", ("fit",), "teardown", lambda: (outcome[0],))
                try:
                    self._fit(pairs, source, held, settings, saver)
                    if ctx.stop_reason is not None:
                        outcome[0] = f"stopped: {ctx.stop_reason}"
                except (KeyboardInterrupt, Interrupted) as exc:
                    outcome[0] = "interrupted"
                    if bus.signal is not None:
                        bus.signal(stop.signum or signal.SIGINT)
                    if isinstance(exc, Interrupted):
                        raise stop.exception() from None
                    raise
                except BaseException as exc:
                    outcome[0] = f"error: {type(exc).__name__}: {exc}"
                    raise
        finally:
            saver.settle()
            ctx.clock.pause()
            self._close(bus)

    def _configure(self, bus: Bus, settings: dict[str, Any], source: Any, out: Any) -> dict[str, Any]:
        """The settings of the run after ``lunar_configure``, checked; the whole configuration goes to the context."""
        ctx = self.context
        config: dict[str, Any] = dict(settings)
        if out is not None or bus.configure is not None:
            config["seed"] = streams.current_seed()
            config["examples"] = len(source)
            config["model"] = describe(ctx.model)
            config["loss"] = describe(self.loss)
            config["optimizers"] = [describe(o) for o in ctx.optimizers]
            config["schedulers"] = [describe(getattr(s, "scheduler", s)) for s in self.schedulers]
            config["metrics"] = {name: describe(m) for name, m in self.metrics.items()}
            config["regularizers"] = [describe(r) for r in self.regularizers]
            config["plugins"] = [describe(p) for p in bus.plugins().values()]
        if bus.configure is not None:
            config = bus.configure(config)
        ctx.config = config
        settings = {name: config.get(name, value) for name, value in settings.items()}
        for name in ("epochs", "batch_size", "micro_batches"):
            _positive(name, settings[name])
        if settings["val_batch_size"] is None:
            settings["val_batch_size"] = max(settings["batch_size"], 256)
        _positive("val_batch_size", settings["val_batch_size"])
        return settings

    def _fit(self, pairs: Pairs, source: Any, held: dict[str, Any], settings: dict[str, Any], saver: Any) -> None:
        ctx, bus = self.context, self.context.bus
        if settings["drop_last"] and len(source) < settings["batch_size"]:
            raise DataError(
                f"drop_last=True leaves nothing of {len(source)} examples at batch_size={settings['batch_size']}"
            )
        placer = self._build(source)
        if bus.model_built is not None:
            ctx.model = bus.model_built(ctx.model)
            placer = self._placer()
        if bus.configure_optimizers is not None:
            ctx.optimizers = list(bus.configure_optimizers(ctx.optimizers))
        loader: Any = loader_of(source, settings["batch_size"], settings["drop_last"])
        held_loaders: dict[str, Any] = {n: loader_of(s, settings["val_batch_size"]) for n, s in held.items()}
        if bus.configure_loader is not None:
            loader = bus.configure_loader(loader, "train")
            held_loaders = {name: bus.configure_loader(part, "eval") for name, part in held_loaders.items()}
        regularizers = [*self.regularizers, *regularizers_of(ctx.model)]
        loop = (TrainLoop if self.step is None else custom_loop(self.step))(
            ctx, self.loss, self.metrics, regularizers, placer, settings["clip_norm"], settings["micro_batches"]
        )
        loop.unchecked = source.targets()
        loop.after_batch = saver.after_batch
        saver.loop = loop
        ctx.epochs = saver.begin + settings["epochs"]
        ctx.steps_per_epoch = ctx.clock.batches = len(loader)
        saver.describe(examples=len(source), batches=len(loader), shuffle=settings["shuffle"])
        resolve.check_owned(ctx.optimizers, ctx.model)
        if self._own_schedules is None:
            self._own_schedules = [bound for optimizer in ctx.optimizers for bound in schedulers_of(optimizer)]
        bind_schedulers(ctx, [*self.schedulers, *self._own_schedules], len(source))
        for optimizer in switching(ctx.optimizers):
            optimizer.train()
        saver.restore()

        pairs.open("fit_start", (), "fit_end", (self.history,))
        ctx.clock.start()
        saver.start()
        try:
            while ctx.clock.epoch < ctx.epochs and not ctx.should_stop and not ctx.interrupt:
                self._epoch(pairs, loop, loader, held_loaders, placer, settings["shuffle"], saver)
            if ctx.interrupt:
                raise Interrupted
        except Interrupted:
            saver.commit()
            saver.wait()
            raise
        saver.wait()
        if bus.flush is not None:
            bus.flush()
        pairs.close("fit_end", self.history)
        if bus.report_render is not None and ctx.run_dir is not None:
            bus.report_render(str(ctx.run_dir))

    def _epoch(
        self,
        pairs: Pairs,
        loop: TrainLoop,
        loader: Any,
        held: dict[str, Any],
        placer: Placer,
        shuffle: bool,
        saver: Any,
    ) -> None:
        ctx, bus, clock = self.context, self.context.bus, self.context.clock
        epoch, started, samples = clock.epoch, time.perf_counter(), clock.sample
        begun = saver.under_way()
        if begun is None:
            saver.restore_random()
        pairs.open("epoch_start", (epoch,), "epoch_end", (epoch, {}))
        if isinstance(loader, Loader):
            order = epoch_order(len(loader.source), epoch) if shuffle else None
            if bus.sampler_order is not None:
                order = bus.sampler_order(epoch, order if order is not None else np.arange(len(loader.source)))
            if begun is not None and begun["order"] is not None:
                order = begun["order"]
            loader.order = order
        elif isinstance(loader, Feed):
            loader.epoch, loader.batch, loader.order = epoch, 0, None
            if bus.sampler_order is not None and (order := loader.own_order()) is not None:
                loader.order = bus.sampler_order(epoch, order)
            if begun is not None and begun["order"] is not None:
                loader.order = begun["order"]
        if begun is None:
            for metric in self.metrics.values():
                metric.reset()
        else:
            started, samples = started - begun["seconds"], begun["samples"]
        ctx.model.train()
        ctx.stage = "train"
        pairs.open("stage_start", ("train", loader), "stage_end", ("train", loader))
        drawn = getattr(loader, "order", None) if bus.sampler_order is not None else None
        saver.begin_epoch(loader, drawn, started, samples)
        batches = loader
        if begun is not None:
            batches = saving.forwarded(loader, clock.batch, begun["loader"])
            saver.restore_random()
        totals = loop.run(batches, pairs, None if begun is None else begun["totals"])
        if ctx.interrupt:
            raise Interrupted
        cut = ctx.should_stop
        pairs.close("stage_end", "train", loader)
        ctx.stage = None
        took = time.perf_counter() - started

        metrics: dict[str, Any] = {}
        if totals.batches:  # none if every batch was skipped, or the run was stopped at once
            metrics["loss"] = totals.mean()
            metrics |= totals.part_means()
            if loop.penalties:
                metrics["penalty"] = totals.penalty / totals.batches
            metrics |= figures(bus, self.metrics)
        for name, part in held.items():
            found = evaluate(ctx, part, name, self.loss, self.metrics, placer, pairs)
            metrics |= {f"{name}_{key}": value for key, value in found.items()}
            if bus.log is not None:
                bus.log({"event": "eval", "name": name, "epoch": epoch + 1, "step": clock.step, **found})
        clock.epoch, clock.batch = clock.epoch + 1, 0
        saver.end_epoch()
        loop.advance("epoch", metrics)
        metrics = pairs.close("epoch_end", epoch, metrics)
        if bus.log is not None:
            rate = (clock.sample - samples) / took if took > 0 else 0.0
            times = {"seconds": time.perf_counter() - started, "samples_per_second": rate}
            bus.log({"event": "epoch", "epoch": epoch + 1, "step": clock.step, **metrics, **times})
        if bus.flush is not None:
            bus.flush()
        saver.after_epoch(metrics, cut)

    # -- evaluate and predict ----------------------------------------------------------------------------------------

    def evaluate(self, data: Any, *, batch_size: int = 256, name: str = "test") -> dict[str, Any]:
        """Loss and metrics over ``data``, each that of all examples at once, whatever the batch size.

        ``data`` is as in :meth:`fit`; ``name`` is what the hooks are told.
        """
        if self.loss is None:
            raise HyperparameterError("evaluate() needs a loss", hint="Trainer(model, loss=...)")
        _positive("batch_size", batch_size)
        source = as_source(data, "evaluation data")
        return self._apart(
            "eval", source, lambda pairs, placer: self._evaluate(source, batch_size, name, placer, pairs)
        )

    def _evaluate(self, source: Any, batch_size: int, name: str, placer: Placer, pairs: Pairs) -> dict[str, Any]:
        bus = self.context.bus
        loader: Any = loader_of(source, batch_size)
        if bus.configure_loader is not None:
            loader = bus.configure_loader(loader, "eval")
        found = evaluate(self.context, loader, name, self.loss, self.metrics, placer, pairs)
        if bus.log is not None:
            clock = self.context.clock
            bus.log({"event": "test", "name": name, "epoch": clock.epoch, "step": clock.step, **found})
        return found

    def predict(self, inputs: Any, *, batch_size: int = 256) -> Any:
        """The model's outputs in evaluation mode for all ``inputs``, as a NumPy array of their first axis.

        A pair or triple, or a Dataset, gives its inputs. A model that returns a tuple or dict gives one of arrays.
        """
        _positive("batch_size", batch_size)
        source = as_source(inputs, "inputs", targets=False)

        def run(pairs: Pairs, placer: Placer) -> Any:
            bus = self.context.bus
            loader: Any = loader_of(source, batch_size)
            if bus.configure_loader is not None:
                loader = bus.configure_loader(loader, "predict")
            return predict(self.context, loader, placer, pairs)

        return self._apart("predict", source, run)

    def _apart(self, stage: str, source: Any, work: Any) -> Any:
        """Run ``work(pairs, placer)`` outside of ``fit`` between setup and teardown, or inside of it as it is."""
        ctx = self.context
        if ctx.bus is not None:  # called by a plugin during a run
            with ctx.bus.pairs() as pairs:
                return work(pairs, self._build(source))
        bus = self._open([])
        try:
            outcome = ["completed"]
            with bus.pairs() as pairs, engine_hooks(ctx):
                pairs.open("setup", (stage,), "teardown", lambda: (outcome[0],))
                try:
                    return work(pairs, self._build(source))
                except BaseException as exc:
                    outcome[0] = f"error: {type(exc).__name__}: {exc}"
                    raise
        finally:
            self._close(bus)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _open(self, extra: list[Any]) -> Bus:
        if self.context.bus is not None:
            raise HyperparameterError("fit() was called while a run of the same Trainer is going on")
        return self.context.make_bus([*self.plugins, *extra], installed=self.installed_plugins)

    def _close(self, bus: Bus) -> None:
        bus.close()
        ctx = self.context
        ctx.bus = ctx.stage = ctx.phase = ctx.interrupt = None

    def _build(self, source: Any) -> Placer:
        """Make the model's parameters exist, on the device; what puts batches where they belong."""
        model = self.context.model
        if not model.built:
            # Where the model is now, since a part of it may exist already; it moves as a whole.
            few = source.take(slice(0, min(2, len(source))))
            with no_grad(), evaluating(model):
                model(Tensor(Placer(None, self.dtype or modes.dtype)(few[0])))
        if self.device is not None:
            model.to(self.device)
        if self._pending is not None:
            self._take_over(self._pending)
        return self._placer()

    def _placer(self) -> Placer:
        """What brings batches to the model's device and dtype."""
        dtype, device = self.dtype, self.device
        for parameter in self.context.model.parameters():
            device = device or parameter.device
            if dtype is None and is_floating(parameter.dtype):
                dtype = parameter.dtype
        return Placer(device, dtype or modes.dtype)


def _validation_sources(val: Any) -> dict[str, Any]:
    """Validation data by the prefix of its figures."""
    if val is None:
        return {}
    if isinstance(val, Mapping):
        return {str(name): as_source(part, f"validation data {name!r}") for name, part in val.items()}
    return {"val": as_source(val, "validation data")}


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise hyperparameter_error("Trainer", name, value, "an int > 0")
