"""Prints how our operators compare with ONNX's node test cases: ``python tests/parity/onnx_cases/report.py``."""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from parity.onnx_cases import runner
from parity.onnx_cases.unmapped import REASONS


def main():
    total, reasons, wrong = Counter(), {}, []
    names = sorted(runner.OPERATORS.keys() & runner.cases().keys())
    for name in names:
        for case in runner.cases()[name]:
            text = runner.outcome(case)
            kind = text.partition(":")[0]
            total[kind] += 1
            if kind == "wrong":
                wrong.append(f"{case.name}: {text}")
            elif kind:
                reasons.setdefault(text, Counter())[name] += 1
    print(f"ONNX {runner.onnx.__version__}: {len(names)} operators, {total.total()} cases")
    print(
        f"{total['']} agree, {total['differs']} differ for a reason, {total['not here']} ask for what we have none of"
    )
    for text, counts in sorted(reasons.items()):
        print(f"  {counts.total():4} {text} ({', '.join(sorted(counts))})")
    print(f"{len(wrong)} are wrong")
    print("\n".join(f"  {line}" for line in wrong))
    print(f"\nWithout a function here: {sum(map(len, REASONS.values()))} operators")
    for text, others in REASONS.items():
        print(f"  {len(others):4} {text}: {', '.join(others)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
