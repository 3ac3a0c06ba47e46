"""What checkpoints survive: kills, signals, a full disk, flipped bits, hostile files, and stops at any step.

    python -m benchmarks.reliability                    # everything, with the figures that the documentation states
    python -m benchmarks.reliability kills --count 100  # one part

Each part prints one line of figures and exits with 1 if anything was lost. Runs are small and children are forked, so
that a thousand kills take a minute or two. POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import mmap
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lunar_core as lc
from lunar_core import statetree
from lunar_core.errors import LunarError, SerializationError
from lunar_core.serialize import load
from lunar_training import Checkpointer, CheckpointWarning, LossScaler, Trainer, transaction
from lunar_training.checkpoint import STATE, TREE, read

EPOCHS, BATCH = 6, 16
PHASES = ("warm-up", "training", "evaluation", "saving")


def data(n: int = 121, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A small problem of two classes."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, 8)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(np.int64)


def trainer(draw: random.Random | None = None, *plugins: Any) -> Trainer:
    """A trainer with dropout and running statistics; with ``draw`` of a random configuration."""
    chosen = (lambda share: draw.random() < share) if draw is not None else (lambda share: True)
    accumulate = draw is not None and chosen(0.4)
    parts = [lc.layers.Dense(32)] + ([] if accumulate else [lc.layers.BatchNorm1D()])
    model = lc.layers.Sequential(*parts, lc.layers.ReLU(), lc.layers.Dropout(0.3), lc.layers.Dense(2))
    optimizer: Any = lc.optimizers.AdamW(model.parameters(), lr=1e-2)
    if chosen(0.5):
        optimizer = lc.optimizers.EMA(optimizer, decay=0.9)
    precision = draw.choice([None, "bfloat16", "float16"]) if draw is not None else None
    return Trainer(
        model,
        "cross_entropy",
        optimizer,
        metrics=["accuracy"],
        scheduler="cosine" if chosen(0.5) else None,
        micro_batches=3 if accumulate else 1,
        precision=precision,
        loss_scale=LossScaler(2.0**18, every=4) if precision == "float16" else None,
        clip_norm=1.0 if draw is not None and chosen(0.3) else None,
        plugins=plugins,
        progress="off",
    )


def fit(run: Trainer, out: Path | None, **options: Any) -> None:
    lc.seed(7)
    run.fit(data(), val=data(40, 5), epochs=EPOCHS, batch_size=BATCH, out=out, **options)


def digest(tree: Any) -> str:
    """sha256 of nested state, arrays bit for bit."""
    plain, arrays = statetree.pack(tree)
    total = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def result(run: Trainer) -> str:
    """Digest of weights, optimizers, schedules, scaler and the log of figures."""
    ctx = run.context
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in run.history]
    parts = [ctx.model, *ctx.optimizers, *ctx.schedulers, *([ctx.scaler] if ctx.scaler else [])]
    return digest([[part.state_dict() for part in parts], rows])


class Watch:
    """Tells the parent what the run is doing, and writes down the digest after each step if asked to."""

    band = "checkpoint"

    def __init__(self, shared: Any = None, slow: float = 0.0, states: dict[int, str] | None = None) -> None:
        self.shared = shared
        self.slow = slow
        self.states = states

    def _tell(self, phase: str) -> None:
        if self.shared is not None:
            self.shared[0] = PHASES.index(phase) + 1
            if self.slow:
                time.sleep(self.slow)

    def lunar_fit_start(self) -> None:
        self._tell("warm-up")

    def lunar_after_backward(self) -> None:
        self._tell("training")

    def lunar_eval_batch_start(self) -> None:
        self._tell("evaluation")

    def lunar_before_write(self) -> None:
        self._tell("saving")

    def lunar_after_commit(self) -> None:
        self.shared[0] = 2

    def lunar_batch_end(self, ctx: Any) -> None:
        if self.states is not None:
            self.states[ctx.clock.step] = digest([ctx.model.state_dict(), ctx.optimizer.state_dict()])


def child(work: Any) -> int:
    """The process id of a fork that does ``work`` and leaves without a trace of this process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = work() or 0
    except SystemExit as exc:
        code = int(exc.code or 0)
    except BaseException as exc:
        sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="lunar-reliability-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def report(what: str, lost: int, **figures: Any) -> int:
    shown = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures.items())
    print(f"{what:<10} {'ok  ' if not lost else 'LOST'} {shown}", flush=True)
    return lost


# -- the parts ---------------------------------------------------------------------------------------------------------


def kills(count: int = 1000, seed: int = 0) -> int:
    """SIGKILL at random times while training and while saving, checkpoints at every step; the run always goes on.

    After each kill the newest checkpoint has to be whole, and its state the one that the uninterrupted run had at its step.
    """
    draw = random.Random(seed)
    states: dict[int, str] = {}
    reference = trainer(None, Watch(states=states))
    fit(reference, None)
    expected = result(reference)
    shared = mmap.mmap(-1, 1)
    unloadable = mixed = finished = different = saving = 0

    with folder() as base:
        out = base / "0"

        def work() -> int:
            run = trainer(None, Watch(shared))
            fit(run, out, checkpoint="1step", resume=True)
            (out / "result").write_text(result(run))
            return 0

        started = time.perf_counter()
        killed = 0
        while killed < count:
            shared[0] = 0
            pid = child(work)
            time.sleep(draw.uniform(0.0, 0.25))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                killed += 1
                saving += shared[0] == PHASES.index("saving") + 1
            with warnings.catch_warnings():
                warnings.simplefilter("error", CheckpointWarning)
                try:
                    found = Checkpointer(out / "checkpoints").load()
                except (LunarError, CheckpointWarning) as exc:
                    print(exc)
                    unloadable += 1
                    found = None
            if found is not None and found.state["clock"]["step"]:
                state = digest([found.state["model"], found.state["optimizers"][0]])
                mixed += state != states[found.state["clock"]["step"]]
            if not os.WIFSIGNALED(status):
                finished += 1
                different += (out / "result").read_text() != expected
                shutil.rmtree(out)
                out = base / str(finished)
        seconds = time.perf_counter() - started
    return report(
        "kills",
        unloadable + mixed + different,
        kills=killed,
        while_saving=saving,
        unloadable=unloadable,
        of_mixed_state=mixed,
        runs_completed=finished,
        of_them_different=different,
        seconds=round(seconds),
    )


def stops(count: int = 100, seed: int = 0) -> int:
    """A stop at a random step of a random configuration (EMA, schedule, accumulation, autocast, clipping), resumed."""
    draw = random.Random(seed)
    different = 0
    for _i in range(count):
        config = draw.randrange(10**9)
        whole = trainer(random.Random(config))
        fit(whole, None)
        at = draw.randrange(1, 8 * EPOCHS)
        with folder() as base:
            part = trainer(random.Random(config), _StopAfter(at))
            try:
                fit(part, base / "run")
            except SystemExit:
                rest = trainer(random.Random(config))
                fit(rest, base / "run", resume=True)
                if result(rest) != result(whole):
                    different += 1
                    print(f"configuration {config}, stopped after batch {at}: different")
            else:
                print(f"configuration {config}: not stopped at {at}")
                different += 1
    return report("stops", different, stops=count, different=different)


class _StopAfter:
    band = "control"

    def __init__(self, batches: int) -> None:
        self.left = batches

    def lunar_batch_end(self) -> None:
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGTERM)


def signals(count: int = 20, seed: int = 0) -> int:
    """SIGTERM in each phase of a run: a checkpoint is there and the exit code is 143."""
    draw = random.Random(seed)
    good = dict.fromkeys(PHASES, 0)
    shared = mmap.mmap(-1, 1)
    for phase in PHASES:
        for _ in range(count):
            with folder() as base:
                shared[0] = 0

                def work(out: Path = base / "run") -> int:
                    fit(trainer(None, Watch(shared, slow=0.002)), out, checkpoint="4step")
                    return 0

                pid = child(work)
                deadline = time.monotonic() + 20
                while shared[0] != PHASES.index(phase) + 1 and time.monotonic() < deadline:
                    time.sleep(0.0005)
                time.sleep(draw.uniform(0, 0.001))
                os.kill(pid, signal.SIGTERM)
                _, status = os.waitpid(pid, 0)
                whole = Checkpointer(base / "run/checkpoints").load()
                good[phase] += os.WIFEXITED(status) and os.WEXITSTATUS(status) == 143 and whole is not None
    lost = sum(count - n for n in good.values())
    return report("signals", lost, **{f"of_{count}_in_{name.replace('-', '_')}": n for name, n in good.items()})


def saved(where: Path, count: int = 2) -> tuple[Checkpointer, list[str]]:
    """A directory with checkpoints, and the digests of what they hold."""
    run = trainer(None)
    saver = Checkpointer(where, every="1ep", keep=count)
    lc.seed(7)
    run.fit(data(), epochs=count, batch_size=BATCH, checkpoint=saver)
    return saver, [digest(read(where / name).state) for name in saver.names()]


def full(count: int = 200) -> int:
    """A disk that is full at any byte, and a sync or a rename that fails: the old checkpoint stays, nothing is left."""
    lost = tried = 0
    with folder() as base:
        saver, states = saved(base / "c")
        newest = base / "c" / saver.names()[-1]
        largest = max(path.stat().st_size for path in newest.iterdir())
        parts = read(newest).state
        parts.pop("random")

        def attempt(prepare: Any) -> int:
            prepare()
            before = sorted(os.listdir(base / "c"))
            try:
                Checkpointer(base / "c", keep=5).save(parts)
            except SerializationError as exc:
                clear = "cannot write the checkpoint" in str(exc) and len(str(exc).splitlines()) <= 2
                return 0 if clear and sorted(os.listdir(base / "c")) == before else 3
            return 4

        def limited(size: int) -> Any:
            return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        def failing(name: str, call: int) -> Any:
            def prepare() -> None:
                real, calls = getattr(os, name), [0]

                def replaced(*args: Any, **options: Any) -> Any:
                    calls[0] += 1
                    if calls[0] == call:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return real(*args, **options)

                setattr(os, name, replaced)

            return prepare

        preparations = [limited(round(i * (largest - 1) / max(1, count - 1))) for i in range(count)]
        preparations += [failing("fsync", i) for i in range(1, 5)] + [failing("rename", 1), failing("mkdir", 2)]
        for prepare in preparations:
            pid = child(lambda prepare=prepare: attempt(prepare))
            _, status = os.waitpid(pid, 0)
            tried += 1
            good = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                good = good and digest(Checkpointer(base / "c").load().state) == states[-1]
            if not good:
                print(f"attempt {tried}: status {status}")
            lost += not good
    return report("full disk", lost, failures=tried, with_loss_or_litter=lost)


def flips(count: int = 1000, seed: int = 0) -> int:
    """A flipped bit or a cut at random places of any file of a checkpoint: noticed, and the one before is loaded."""
    draw = random.Random(seed)
    missed = 0
    with folder() as base:
        saver, states = saved(base / "c")
        newest = base / "c" / saver.names()[-1]
        files = sorted(newest.iterdir())
        for i in range(count):
            path = files[i % len(files)]
            original = path.read_bytes()
            place = draw.randrange(len(original))
            if i % 4 == 3:
                damaged = original[:place]
            else:
                damaged = bytearray(original)
                damaged[place] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                found = Checkpointer(base / "c").load()
            named = [w for w in told if issubclass(w.category, CheckpointWarning) and newest.name in str(w.message)]
            missed += digest(found.state) != states[0] or len(named) != 1
            path.write_bytes(original)
    return report("damage", missed, damaged_files=count, missed=missed)


def fuzz(count: int = 100_000, seed: int = 0) -> int:
    """Hostile manifests, trees and array files whose digests are right: an error of ours or a sound value, nothing else."""
    draw = random.Random(seed)
    bad = refused = 0
    with folder() as base:
        saver, _ = saved(base / "c")
        newest = base / "c" / saver.names()[-1]
        manifest = json.loads((newest / transaction.MANIFEST).read_text())
        tree = json.loads((newest / TREE).read_text())
        arrays = (newest / STATE).read_bytes()[:4000]
        target = base / "f"
        target.mkdir()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for i in range(count):
            kind = i % 4
            try:
                if kind == 0:  # a manifest with a right digest and wrong content
                    changed = mutated(manifest, draw)
                    if isinstance(changed, dict):
                        with contextlib.suppress(TypeError, ValueError):
                            changed["digest"] = transaction.digest_of(changed)
                    _write(target / transaction.MANIFEST, json.dumps(changed, sort_keys=True, separators=(",", ":")))
                    transaction.verify(target)
                elif kind == 1:  # bytes of a manifest
                    _write(
                        target / transaction.MANIFEST, _scrambled((newest / transaction.MANIFEST).read_bytes(), draw)
                    )
                    transaction.verify(target)
                elif kind == 2:  # a tree that names what it should not
                    statetree.unpack(mutated(tree, draw), {}, "fuzz")
                else:  # the header of an array file
                    _write(target / STATE, _scrambled(arrays, draw, 200))
                    load(target / STATE)
            except LunarError:
                refused += 1
            except Exception as exc:
                bad += 1
                print(f"case {i}: {type(exc).__name__}: {str(exc)[:200]}")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    return report("fuzz", bad + (grown > 200), cases=count, refused=refused, crashes=bad, MB_more_memory=round(grown))


def _write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content))


def _scrambled(text: bytes, draw: random.Random, within: int = 10**9) -> bytes:
    changed = bytearray(text)
    for _ in range(draw.randrange(1, 6)):
        place = draw.randrange(min(len(changed), within))
        action = draw.randrange(4)
        if action == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif action == 1:
            changed[place] = draw.randrange(256)
        elif action == 2:
            del changed[place : place + draw.randrange(1, 20)]
        else:
            changed[place:place] = bytes(draw.choices(b'{}[]",:0123456789eE-ntf\\u\x00\xff', k=draw.randrange(1, 20)))
        if not changed:
            break
    return bytes(changed)


STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**300, 1e308, "", "../x", "/etc/passwd", "a" * 5000, "\ud800", "\x00", [], {}, [[]],
    {"@array": "x"}, {"@array": 1}, {"@tuple": 3}, {"@float": "1e999"}, {"@complex": [1]}, {"@dict": [[[], 1]]},
    {"@bytes": "!"}, {"@class": "os.system"}, {"@array": "model", "complex128": [2**62, 8]}, {"size": -1, "sha256": "0" * 64},
)  # fmt: skip


def mutated(value: Any, draw: random.Random) -> Any:
    """``value`` with something strange at a random place."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        changed = dict(value)
        action = draw.random()
        if action < 0.1:
            del changed[key]
        elif action < 0.2:
            changed[draw.choice(["@array", "../x", "@tuple", "x", "a/b", ".."])] = changed.pop(key)
        else:
            changed[key] = mutated(value[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.9:
        changed_list = list(value)
        place = draw.randrange(len(changed_list))
        changed_list[place] = mutated(changed_list[place], draw)
        return changed_list
    strange = draw.choice(STRANGE)
    if draw.random() < 0.01:
        for _ in range(500):
            strange = [strange]
    return strange


PARTS = {"kills": kills, "stops": stops, "signals": signals, "full": full, "flips": flips, "fuzz": fuzz}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--count", type=int, help="how many trials")
    chosen = parser.parse_args()
    for name in chosen.parts:
        if name not in PARTS:
            parser.error(f"no part {name!r}; there are {', '.join(PARTS)}")
    options = {} if chosen.count is None else {"count": chosen.count}
    return 1 if sum(PARTS[name](**options) for name in chosen.parts or PARTS) else 0


if __name__ == "__main__":
    sys.exit(main())
