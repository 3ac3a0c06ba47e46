"""Every workload here and in PyTorch, in one process and in turns: medians, ratios, agreement, peak memory.

    python -m benchmarks [--threads 2] [--only resnet] [--rounds 15] [--provider none] [--bfloat16] [--compile] [--jax]
                         [--memory] [--scaling] [--cpu] [--json FILE] [--save]

Both sides get the same weights, the same batch and the same number of threads; their logits and first losses are compared
before anything is timed. A ratio is our time over PyTorch's: below 1 is faster. ``--provider none`` computes with plain
NumPy; ``--compile`` adds ``torch.compile``, ``--jax`` JAX under ``jit``; ``--memory`` adds the peak of a step over what the
process held after its imports, each side in a process of its own; ``--save`` keeps the results in ``benchmarks/results/``
under the machine's name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(prog="python -m benchmarks", description="workloads beside PyTorch")
parser.add_argument("--threads", type=int, default=2, help="threads of each side")
parser.add_argument("--only", default="", help="run the rows whose name contains this")
parser.add_argument("--rounds", type=int, default=15, help="interleaved measurements of each row")
parser.add_argument("--provider", default="", help="'none' switches every kernel provider off, a name only that one")
parser.add_argument("--bfloat16", action="store_true", help="both sides under autocast to bfloat16")
parser.add_argument("--compile", action="store_true", help="also torch.compile, which needs a C++ compiler")
parser.add_argument("--jax", action="store_true", help="also JAX under jit, where the workload is written down for it")
parser.add_argument("--memory", action="store_true", help="also the peak memory of a step")
parser.add_argument("--scaling", action="store_true", help="time against batch, width and depth instead")
parser.add_argument("--cpu", action="store_true", help="processor time of the calling thread; only with --threads 1")
parser.add_argument("--json", metavar="FILE", help="write the rows there")
parser.add_argument("--save", action="store_true", help="keep the rows in benchmarks/results/<machine>.json")


def main() -> None:
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)  # read when the libraries are loaded
    from benchmarks import runner

    rows = runner.scaling(options) if options.scaling else runner.run(options)
    report = {"machine": machine(), "options": vars(options), "rows": rows}
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    if options.save:
        folder = Path(__file__).parent / "results"
        folder.mkdir(exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in machine()["cpu"]).strip("-").lower()
        (folder / f"{name}-{options.threads}.json").write_text(json.dumps(report, indent=1) + "\n")
    if any(row.get("wrong") for row in rows):
        sys.exit("the two sides do not agree: see above")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    from importlib.metadata import version

    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "torch": version("torch"),
    }


if __name__ == "__main__":
    main()
