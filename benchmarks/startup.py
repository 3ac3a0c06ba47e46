"""How long it takes until something happens: importing NumPy, importing lunar_core, and ``lunar --help``.

Each is measured in fresh processes, in turn, so that all meet the same machine; the medians are compared.

    python benchmarks/startup.py [rounds]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import lunar_core": ["-c", "import lunar_core"],
    "lunar --help": ["-m", "lunar_cli", "--help"],
    "lunar plugins list": ["-m", "lunar_cli", "plugins", "list"],
}


def seconds(arguments: list[str]) -> float:
    """Wall time of one Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, float]:
    """Median wall time of each command in seconds; one round before them fills the caches."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for k in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            taken = seconds(arguments)
            if k:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    medians = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    for name, taken in medians.items():
        print(f"{name:<20} {taken * 1e3:7.1f} ms")
    ratio = medians["import lunar_core"] / medians["import numpy"]
    empty = medians["python"]
    net = (medians["import lunar_core"] - empty) / (medians["import numpy"] - empty)
    print(
        f"\nimport lunar_core / import numpy: {ratio:.2f}x, {net:.2f}x without the interpreter's own start (goal 1.5x)"
    )
    print(f"lunar --help: {medians['lunar --help']:.3f} s (goal 0.35 s)")


if __name__ == "__main__":
    main()
