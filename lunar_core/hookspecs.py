"""Every hook of the framework: its name, its arguments, its kind and when it fires.

A plugin implements a hook by having a function or method of that name. It asks for any subset of the arguments, in any
order, and every hook may ask for ``ctx``, the context of the run. No decorator is needed; :func:`hookimpl` adds
options.

Kinds
    **notify**  the return value means nothing.
    **filter**  what an implementation returns replaces the value for the next one and for the run; ``None`` keeps it.
    **decide**  the first answer that is not ``None`` wins; the rest is not asked.
    **wrap**    the implementation gets ``proceed``, calls it (once, many times or never) and returns its result.

Order: by band (control, editor, reader, logger, checkpoint), then ``before=`` / ``after=``, then registration. Readers
and loggers only look: what they return is ignored, an exception switches their plugin off, and the random state is put
back after them. An exception of any other band propagates.

The functions here are never called; :data:`SPECS` holds what their decorators recorded, in the order of a run.
"""
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from .errors import HookError

PREFIX = "lunar_"
BANDS = ("control", "editor", "reader", "logger", "checkpoint")
ISOLATED = ("reader", "logger")  # bands that may look but not touch

F = TypeVar("F", bound=Callable[..., Any])


class Spec(NamedTuple):
    """One hook. ``args`` has no ``ctx``: every hook offers it."""

    name: str
    group: str
    kind: str
    args: tuple[str, ...]
    values: tuple[str, ...]  # filter: the arguments that a return value replaces
    answers: tuple[str, ...]  # decide: the answers that are understood; empty: any
    closing: bool  # the end of a pair: every implementation is called even if one raises
    live: bool  # False: reserved, this version does not fire it
    doc: str


SPECS: dict[str, Spec] = {}  # by name without the prefix


class Group:
    """Marks functions as hook specifications of one group. Also sets what pluggy's ``HookspecMarker("lunar")`` sets."""

    def __init__(self, name: str, live: bool = True) -> None:
        self.name = name
        self.live = live

    def _mark(
        self,
        kind: str,
        values: tuple[str, ...] = (),
        answers: tuple[str, ...] = (),
        closing: bool = False,
    ) -> Callable[[F], F]:
        def mark(function: F) -> F:
            code = function.__code__
            args = tuple(a for a in code.co_varnames[: code.co_argcount] if a != "ctx")
            name = function.__name__.removeprefix(PREFIX)
            doc = " ".join((function.__doc__ or "").split())
            SPECS[name] = Spec(name, self.name, kind, args, values, answers, closing, self.live, doc)
            function.lunar_spec = {  # type: ignore[attr-defined]
                "firstresult": kind == "decide",
                "historic": False,
                "warn_on_impl": None,
                "warn_on_impl_args": None,
            }
            return function

        return mark

    def notify(self, function: F) -> F:
        return self._mark("notify")(function)

    def closes(self, function: F) -> F:
        """A notification that ends a pair."""
        return self._mark("notify", closing=True)(function)

    def filter(self, *values: str, closing: bool = False) -> Callable[[F], F]:
        return self._mark("filter", values=values, closing=closing)

    def decide(self, *answers: str) -> Callable[[F], F]:
        return self._mark("decide", answers=answers)

    def wrap(self, function: F) -> F:
        return self._mark("wrap")(function)


def hookimpl(
    function: F | None = None,
    *,
    band: str | None = None,
    before: str | Iterable[str] = (),
    after: str | Iterable[str] = (),
    tryfirst: bool = False,
    trylast: bool = False,
    optionalhook: bool = False,
    draws: bool | None = None,
    select: Any = None,
) -> Any:
    """Options for one hook implementation; with or without parentheses.

    - ``band``: one of control, editor, reader, logger, checkpoint. Default: the ``band`` attribute of the plugin,
      else ``editor``.
    - ``before``, ``after``: names of plugins of the same band (registry name, full name or class name) to precede or
      follow; a name that is not present is ignored.
    - ``tryfirst``, ``trylast``: first or last in the band, as in pluggy.
    - ``optionalhook``: no error if this version has no such hook.
    - ``draws=False``: a reader's promise that it draws no random numbers, so that the random state need not be saved
      around it (about 0.1 ms a call).
    - ``select``: for the hooks of modules, a glob over paths or a class, for those of ops a glob over names, or a tuple
      of them: the implementation is called for those only.
    """

    def mark(function: F) -> F:
        name = getattr(function, "__name__", repr(function))
        if not name.startswith(PREFIX):
            raise HookError(f"@hookimpl on {name!r}", hint=f"the name of a hook begins with {PREFIX!r}")
        if band is not None and band not in BANDS:
            raise HookError(f"{name}: unknown band {band!r}", hint=f"bands: {', '.join(BANDS)}")
        function.lunar_options = {  # type: ignore[attr-defined]
            "band": band,
            "before": _names(before),
            "after": _names(after),
            "tryfirst": tryfirst,
            "trylast": trylast,
            "optionalhook": optionalhook,
            "draws": draws,
            "select": select,
        }
        function.lunar_impl = {  # type: ignore[attr-defined]  # what pluggy's HookimplMarker("lunar") sets
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": optionalhook,
            "tryfirst": tryfirst,
            "trylast": trylast,
            "specname": None,
        }
        return function

    return mark if function is None else mark(function)


def _names(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


# --- life ------------------------------------------------------------------------------------------------------------
life = Group("life")


@life.filter("config")
def lunar_configure(config, ctx):
    """First hook of a run. ``config`` is a dict of the run's settings as plain data; what comes out is what is used for
    ``epochs``, ``batch_size``, ``shuffle``, ``drop_last`` and ``clip_norm`` and what is written to the run
    directory."""


@life.notify
def lunar_setup(stage, ctx):
    """Before anything of ``fit`` ("fit"), ``evaluate`` ("eval") or ``predict`` ("predict") is prepared: open files,
    check requirements. ``lunar_teardown`` always follows."""


@life.notify
def lunar_fit_start(ctx):
    """The model and the optimizer stand; the first epoch has not begun."""


@life.closes
def lunar_fit_end(history, ctx):
    """Training is over, by success, stop or error. ``history`` is the History so far."""


@life.notify
def lunar_stage_start(stage, loader, ctx):
    """A pass over ``loader`` begins; ``stage`` is "train", "eval" or "predict"."""


@life.closes
def lunar_stage_end(stage, loader, ctx):
    """The pass over ``loader`` is over."""


@life.decide("raise", "retry", "skip", "stop")
def lunar_exception(exc, phase, ctx):
    """A training batch raised ``exc`` in ``phase``: "fetch" (before the forward pass), "forward", "loss", "backward",
    "gradients", "step" or "metrics". Answers: "raise" (default), "retry" the same batch, which asks again if it fails
    again (not once its step has begun), "skip" the batch, "stop" the run as if it had been asked to."""


@life.notify
def lunar_signal(signum, ctx):
    """The run received an interrupt (``signal.SIGINT`` ...) and stops after the open pairs are closed."""


@life.closes
def lunar_teardown(reason, ctx):
    """Last hook of a run, always. ``reason``: "completed", "stopped: why", "interrupted" or "error: Type: message"."""


@life.notify
def lunar_plugin_error(plugin, hook, exc, ctx):
    """The reader or logger named ``plugin`` raised ``exc`` in ``hook`` and has been switched off for this run."""


# --- build -----------------------------------------------------------------------------------------------------------
build = Group("build")


@build.filter("model")
def lunar_model_built(model, ctx):
    """The sizes of all parameters are known; return another Module to train that instead."""


@build.filter("optimizers")
def lunar_configure_optimizers(optimizers, ctx):
    """``optimizers`` is the list of optimizers that will step; each is stepped in turn."""


@build.filter("loader")
def lunar_configure_loader(loader, stage, ctx):
    """``loader`` yields the batches of ``stage`` ("train", "eval", "predict"): an iterable with ``__len__``."""


# --- epoch -----------------------------------------------------------------------------------------------------------
epoch_group = Group("epoch")


@epoch_group.notify
def lunar_epoch_start(epoch, ctx):
    """``epoch`` counts from 0."""


@epoch_group.filter("indices")
def lunar_sampler_order(epoch, indices, ctx):
    """``indices`` (n,) int64: the order in which the samples of this epoch are taken."""


@epoch_group.filter("metrics", closing=True)
def lunar_epoch_end(epoch, metrics, ctx):
    """``metrics`` is the dict of floats of this epoch, evaluation included; what comes out is logged and kept in the
    history."""


# --- batch -----------------------------------------------------------------------------------------------------------
batch_group = Group("batch")


@batch_group.notify
def lunar_before_fetch(ctx):
    """The next training batch is about to be asked for."""


@batch_group.filter("batch")
def lunar_after_fetch(batch, wait_s, ctx):
    """``batch`` is a tuple of raw arrays ``(inputs, targets)`` or ``(inputs, targets, weight)``; ``wait_s`` is how long
    the loop waited for it, in seconds."""


@batch_group.decide("run", "skip")
def lunar_batch_start(batch, ctx):
    """Answer "skip" to leave this batch out: no forward pass, no step."""


@batch_group.notify
def lunar_micro_start(i, n, weight, ctx):
    """Micro-batch ``i`` of ``n`` of the current batch begins; ``weight`` is its share of the loss weight."""


@batch_group.closes
def lunar_micro_end(i, n, weight, ctx):
    """Micro-batch ``i`` of ``n`` is through its backward pass."""


@batch_group.closes
def lunar_batch_end(outputs, metrics, ctx):
    """``outputs``: what the model returned for the last micro-batch, detached, or None if it did not get that far.
    ``metrics``: dict with "loss", the mean over this batch, and "weight"."""


# --- forward ---------------------------------------------------------------------------------------------------------
forward = Group("forward")


@forward.filter("inputs")
def lunar_before_forward(inputs, ctx):
    """``inputs`` is the Tensor given to the model."""


@forward.filter("outputs")
def lunar_after_forward(outputs, ctx):
    """``outputs`` is what the model returned, in the graph."""


@forward.filter("outputs", "targets")
def lunar_before_loss(outputs, targets, ctx):
    """Return a pair ``(outputs, targets)`` to replace both."""


@forward.filter("loss")
def lunar_after_loss(loss, weight, ctx):
    """``loss`` is the mean over the micro-batch, a Tensor with one element in the graph, regularizers not yet added;
    ``weight`` is the sum of the sample weights that it is the mean of."""


@forward.decide("raise", "skip", "stop")
def lunar_loss_nonfinite(loss, batch, ctx):
    """The loss is NaN or infinite (``loss`` is the float). Answers: "raise" (default), "skip" the batch, "stop" the
    run. No weight has been touched by this batch."""


# --- backward --------------------------------------------------------------------------------------------------------
backward = Group("backward")


@backward.filter("loss")
def lunar_before_backward(loss, ctx):
    """``loss``: the Tensor whose ``backward`` is about to be called, regularizers and the micro-batch's share
    included."""


@backward.notify
def lunar_after_backward(ctx):
    """The gradients of this micro-batch have been added up."""


@backward.filter("grad")
def lunar_param_grad_ready(name, param, grad, ctx):
    """The gradient of one parameter (raw array, same shape) is complete for this backward pass."""


@backward.filter("grads")
def lunar_after_accumulate(grads, ctx):
    """``grads``: dict of parameter name to raw gradient array, summed over the micro-batches, before clipping. Write
    into the arrays, or return a dict of those to replace."""


@backward.filter("grads")
def lunar_grads_ready(grads, norm, ctx):
    """``grads`` as the optimizer will see them, after clipping; ``norm`` is their global L2 norm before clipping."""


# --- step ------------------------------------------------------------------------------------------------------------
step_group = Group("step")


@step_group.decide("step", "skip")
def lunar_before_step(step, ctx):
    """``step`` counts the optimizer steps done so far. Answer "skip" to drop these gradients."""


@step_group.wrap
def lunar_optimizer_step(proceed, optimizer, closure, ctx):
    """Around the step of one optimizer. ``proceed()`` steps; ``closure()`` computes loss and gradients of the same
    batch again and returns the loss as a float (for SAM, L-BFGS)."""


@step_group.notify
def lunar_after_step(step, ctx):
    """The weights have changed; ``step`` counts from 1. Not fired for a skipped step."""


@step_group.filter("value")
def lunar_scheduler_step(value, unit, metric, ctx):
    """A scheduler is about to be advanced to position ``value`` in ``unit`` ("step" or "epoch"); ``metric`` is the
    monitored value or None."""


# --- evaluation ------------------------------------------------------------------------------------------------------
evaluation = Group("evaluation")


@evaluation.notify
def lunar_eval_start(name, ctx):
    """An evaluation begins; ``name`` is "val" inside ``fit`` and "test" for ``evaluate``, unless told otherwise."""


@evaluation.notify
def lunar_eval_batch_start(batch, ctx):
    """``batch``: tuple of raw arrays."""


@evaluation.closes
def lunar_eval_batch_end(batch, outputs, ctx):
    """``outputs``: what the model returned, or None if it did not get that far."""


@evaluation.filter("value")
def lunar_metric_compute(name, value, ctx):
    """``value`` of the metric ``name`` over the whole pass, training or evaluation."""


@evaluation.filter("metrics", closing=True)
def lunar_eval_end(name, metrics, ctx):
    """``metrics``: dict of floats of this evaluation."""


@evaluation.notify
def lunar_predict_start(ctx):
    """``predict`` begins."""


@evaluation.notify
def lunar_predict_batch_start(batch, ctx):
    """``batch``: tuple with the raw array of inputs."""


@evaluation.closes
def lunar_predict_batch_end(batch, outputs, ctx):
    """``outputs``: raw array of this batch's predictions, or None if it did not get that far."""


@evaluation.filter("outputs", closing=True)
def lunar_predict_end(outputs, ctx):
    """``outputs``: host array of all predictions, or None after an error."""


# --- checkpoint ------------------------------------------------------------------------------------------------------
checkpoint = Group("checkpoint")


@checkpoint.decide()
def lunar_should_save(ctx):
    """Asked after each epoch by whoever writes checkpoints: True or False. Without an answer its own policy holds."""


@checkpoint.filter("state")
def lunar_checkpoint_collect(state, what, ctx):
    """``state`` is about to be written; add entries to it. ``what`` is "weights" for a file of weights, a dict of name to
    raw array, and "checkpoint" for the state of a run, a dict of parts (objects with ``state_dict``, or plain data)."""


@checkpoint.notify
def lunar_before_write(path, ctx):
    """Weights are about to be written at ``path``, or a checkpoint into the directory ``path``."""


@checkpoint.notify
def lunar_after_commit(path, digest, ctx):
    """``path``, weights or a checkpoint, is complete on disk; ``digest`` is the sha256 of its contents, in hex."""


@checkpoint.filter("state")
def lunar_checkpoint_restore(state, what, ctx):
    """``state`` was read from disk and is about to be loaded: the states of the parts of a run by name; ``what`` is
    "checkpoint"."""


@checkpoint.decide()
def lunar_prune(candidates, ctx):
    """A checkpoint has been committed: which of ``candidates``, the paths of all, oldest first, to delete. The newest is
    kept anyway. Without an answer the Checkpointer's own policy holds."""


# --- log -------------------------------------------------------------------------------------------------------------
log_group = Group("log")


@log_group.filter("record")
def lunar_log(record, ctx):
    """``record``: dict with "event" ("step", "epoch", "eval", "test") and figures. Editors add to it, loggers write it
    down. Step records are made only where a plugin implements this hook. Instruments add records of their own: "stats"
    (figures named ``what/where``) and "diagnosis" (``text``, ``suggestion``)."""


@log_group.notify
def lunar_flush(ctx):
    """What was logged so far is to be made durable: after each epoch and before the end."""


@log_group.notify
def lunar_report_render(path, ctx):
    """The run is over; write figures and pages about it into the directory ``path``."""


# --- modules and ops: fired by the engine during a run ---------------------------------------------------------------
module_group = Group("module")


@module_group.filter("inputs")
def lunar_module_forward_pre(module, path, inputs, ctx):
    """Before ``module.forward``; ``path`` is its dotted name ("" for the model itself), ``inputs`` the tuple of
    positional arguments."""


@module_group.filter("outputs")
def lunar_module_forward_post(module, path, inputs, outputs, ctx):
    """After ``module.forward``, hooks registered on the module included."""


@module_group.filter("grads")
def lunar_module_backward_pre(module, path, grads, ctx):
    """``grads``: tuple of the raw gradients that arrive at the Tensors of the module's outputs, in order, ``None`` where
    none does; Tensors under ``create_graph``."""


@module_group.filter("grads")
def lunar_module_backward_post(module, path, grads, ctx):
    """``grads``: the same for the Tensors among the module's positional inputs. Not fired where no input of the module
    needs a gradient."""


op_group = Group("op")


@op_group.filter("inputs")
def lunar_op_forward_pre(op, inputs, ctx):
    """Before an op is applied to a Tensor; ``inputs`` is the tuple of what it was given. An op that a hook applies
    itself fires no hooks."""


@op_group.filter("outputs")
def lunar_op_forward_post(op, inputs, outputs, ctx):
    """After an op was applied; ``outputs`` is a Tensor or a tuple of them."""


@op_group.filter("grads")
def lunar_op_backward_pre(op, node, grads, ctx):
    """Before an op's gradient rule: ``grads`` is the tuple of the raw gradients of its results, ``None`` where none
    arrives; Tensors under ``create_graph``. ``node`` is the op's place in the graph; ``node.age`` is its number there,
    which its result's node had in ``lunar_op_forward_post``."""


@op_group.filter("grads")
def lunar_op_backward_post(op, node, grads, ctx):
    """After an op's gradient rule: ``grads`` is the tuple of what it gave, one for each input, ``None`` where that needs
    no gradient; before it is summed over broadcast axes."""


@op_group.notify
def lunar_alloc(nbytes, device, ctx):
    """A result of an op or of a gradient rule, which owns memory of ``nbytes``, was made on ``device``. Scratch memory
    inside of an op does not count."""


@op_group.notify
def lunar_free(nbytes, device, ctx):
    """What was announced by ``lunar_alloc`` was released."""


reserved_backward = Group("backward", live=False)


@reserved_backward.filter("bucket")
def lunar_before_allreduce(bucket, ctx):
    """A flat bucket of gradients is about to be summed over the ranks."""


# --- components and commands: fired once a process, without a run ----------------------------------------------------
components = Group("components")


@components.notify
def lunar_component_loaded(component, ctx):
    """A component was imported; ``component`` is its ComponentPlugin."""


@components.decide()
def lunar_conflict(kind, name, candidates, ctx):
    """Several distributions claim ``name``; answer with the candidate to take."""


@components.notify
def lunar_register_commands(group, ctx):
    """``group`` is the click group of the command line; add commands to it."""
