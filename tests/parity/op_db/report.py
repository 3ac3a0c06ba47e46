"""Prints how our operators compare with PyTorch's operator table: ``python tests/parity/op_db/report.py [family ...]``."""

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from parity.op_db import runner
from parity.op_db.unmapped import REASONS, accepted

KINDS = {torch.float64: "float64", torch.complex128: "complex128", torch.int64: "integers", torch.bool: "integers"}


def main(families):
    start = time.perf_counter()
    total, reasons, failures, refused, wrong = Counter(), {}, [], 0, []
    print(
        f"PyTorch {torch.__version__}; rtol {runner.RTOL:g}, atol {runner.ATOL:g}; forward and gradient of each sample"
    )
    print(f"{'family':16} {'operators':>9}   float64: samples, with a reason, wrong   complex128   integers")
    for family in families or runner.FAMILIES:
        names = [name for name in runner.FAMILIES[family] if name in runner.table()]
        count = Counter()
        for name in names:
            for dtype in runner.dtypes(runner.table()[name]):
                outcome, kind = runner.run(name, dtype), KINDS[dtype]
                count[kind] += outcome.samples
                count[kind, "reason"] += len(outcome.reasons)
                count[kind, "wrong"] += len(outcome.failures)
                failures += outcome.failures
                for text in outcome.reasons if kind == "float64" else ():
                    reasons.setdefault(text, Counter())[name] += 1
            cases, lines = runner.run_errors(name)
            refused += cases
            wrong += [line for line in lines if not accepted(name, line[0])]
        count["operators"] = len(names)
        total += count
        print(row(family, count))
    print(row("all", total))
    share = total["float64", "reason"] / max(total["float64"], 1)
    print(f"\nReasons ({share:.2%} of the float64 samples):")
    for text, names in sorted(reasons.items(), key=lambda pair: -pair[1].total()):
        print(f"  {names.total():4} {text}: {', '.join(sorted(names))}")
    print(f"\n{refused} inputs that PyTorch refuses: {len(wrong)} were not refused with an error of ours")
    for line in wrong:
        print("  ", *line)
    if failures:
        print(f"\n{len(failures)} samples differ:")
        print("\n".join(f"  {line}" for line in failures))
    unmapped = sum(map(len, REASONS.values()))
    print(f"\nWithout a counterpart: {unmapped} of {len(runner.table())} entries")
    for text, names in REASONS.items():
        print(f"  {len(names):4} {text}")
    print(f"\n{time.perf_counter() - start:.1f} s")
    return 1 if failures or wrong else 0


def row(label, count):
    cells = [f"{count['float64']:8}, {count['float64', 'reason']:4}, {count['float64', 'wrong']:4}"]
    cells += [
        f"{count[kind]:6}, {count[kind, 'reason']:4}, {count[kind, 'wrong']:3}" for kind in ("complex128", "integers")
    ]
    return f"{label:16} {count['operators']:9}   " + "   ".join(cells)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
