"""How long it takes to find and register 400 components, and that nothing is imported for it.

    python benchmarks/discovery.py [--components 400] [--distributions 40] [--repeats 9]

An environment is written into a temporary folder: half of the components in the first-party distribution, the rest
spread over strangers' ones. Each measurement is the first use of the registry in a Python of its own. The peer of the
same run reads the entry points of the same folder through ``importlib.metadata``, which is the least that any plugin
system does; it goes second, after the caches have been emptied.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
KINDS = ("layers", "activations", "losses", "metrics", "optimizers", "schedulers", "callbacks", "models")
LIMIT_MS = 50.0

MEASURE = """
import json, sys, time
from importlib import metadata          # its import is not what is measured
import pluggy, lunar_core.plugins.manager
from lunar_core.plugins import Registry
path = [{site!r}] + ([p for p in sys.path if p] if {whole} else [])
sys.path.insert(0, {site!r})
before = set(sys.modules)
clock = time.perf_counter
t0 = clock()
registry = Registry(path)
names = {{kind: registry.names(kind) for kind in registry.kinds()}}
t1 = clock()
manager = registry.manager
t2 = clock()
imported = sorted(m for m in set(sys.modules) - before if m.startswith("bench_"))
metadata.MetadataPathFinder().invalidate_caches()
t3 = clock()
peer = [e for d in metadata.distributions(path=path) for e in d.entry_points if e.group.startswith("lunar.")]
t4 = clock()
registered = sum(1 for _, p in manager.list_name_plugin() if p is not None)
print(json.dumps({{"names": sum(map(len, names.values())), "registered": registered, "imported": imported,
    "discovery": (t1 - t0) * 1e3, "registration": (t2 - t1) * 1e3, "peer": (t4 - t3) * 1e3}}))
"""


def write_environment(site: Path, components: int, distributions: int) -> None:
    """Distributions whose entry points name modules that raise when they are imported."""
    own = components // 2
    shares = [("lunarlearn", own)]
    rest = components - own
    for i in range(distributions):
        shares.append((f"bench-{i:03}", rest // distributions + (i < rest % distributions)))
    for dist, count in shares:
        module = f"bench_{dist.replace('-', '_')}"
        (site / f"{module}.py").write_text("raise AssertionError('a plugin was imported')\n")
        folder = site / f"{dist.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n\n" + "A description.\n" * 200
        )
        lines = []
        for k, kind in enumerate(KINDS):
            lines.append(f"[lunar.{kind}]")
            lines += [f"{dist}-{i} = {module}:Component{i}" for i in range(k, count, len(KINDS))]
        (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")


def measure(site: Path, whole: bool) -> dict:
    """One first use of the registry in a new Python; ``whole`` adds everything that is installed here."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LUNAR_")}
    env["PYTHONPATH"] = str(REPOSITORY)
    code = MEASURE.format(site=str(site), whole=whole)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=site, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=400)
    parser.add_argument("--distributions", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        write_environment(site, options.components, options.distributions)
        for whole, title in ((False, "these packages alone"), (True, "beside everything installed here")):
            runs = [measure(site, whole) for _ in range(options.repeats)]
            total = statistics.median(r["discovery"] + r["registration"] for r in runs)
            best = min(r["discovery"] + r["registration"] for r in runs)
            parts = {key: statistics.median(r[key] for r in runs) for key in ("discovery", "registration", "peer")}
            imported = sorted({m for r in runs for m in r["imported"]})
            failed |= total > LIMIT_MS or bool(imported) or runs[0]["registered"] < options.components
            print(f"{title}: {runs[0]['registered']} components of {options.distributions + 1} or more distributions")
            print(f"  discovery      {parts['discovery']:6.1f} ms")
            print(f"  registration   {parts['registration']:6.1f} ms")
            print(f"  together       {total:6.1f} ms (best {best:.1f}; limit {LIMIT_MS:.0f})")
            print(f"  importlib      {parts['peer']:6.1f} ms, ratio {total / parts['peer']:.2f}")
            print(f"  imported       {', '.join(imported) or 'nothing'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
