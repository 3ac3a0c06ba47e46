"""What README.md shows works as it stands there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_blocks_run_one_after_the_other(capsys):
    assert len(BLOCKS) == 3
    namespace = {}
    exec(
        "import numpy as np\nfrom lunar_core.component import field, in_range, non_negative\n"
        "from lunar_core.contracts.optimizer import Optimizer",
        namespace,
    )
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)
    assert "accuracy" in capsys.readouterr().out
    assert namespace["trainer"].evaluate(namespace["test"])["accuracy"] > 0.95


def test_the_optimizer_of_the_readme_is_the_one_of_the_example_package():
    shown = next(b for b in BLOCKS if "class Lion" in b)
    source = (ROOT / "examples" / "third_party" / "lunar-lion" / "lunar_lion" / "lion.py").read_text()
    for line in ("direction = np.sign(", "return p - lr * (direction"):
        [a] = [x.strip() for x in shown.splitlines() if x.strip().startswith(line)]
        [b] = [x.strip() for x in source.splitlines() if x.strip().startswith(line)]
        assert a == b


@pytest.mark.parametrize(
    "link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))))
)
def test_every_link_leads_to_a_file(link):
    assert (ROOT / link).exists()
