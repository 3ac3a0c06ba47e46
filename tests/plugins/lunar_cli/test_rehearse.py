"""lunar rehearse: what it says of a recipe, and that it writes nothing."""

from __future__ import annotations

import re

SMALL = ["--set", "model=mlp", "--set", "model.hidden=[16]"]


def test_a_recipe_is_rehearsed_in_three_ways(lunar, tmp_path):
    code, out, err = lunar("rehearse", "digits-cnn", *SMALL, "--steps", "40", "--plot", "lr.png")
    assert (code, err) == (0, "")
    assert re.search(r"^dry-run\n  loss \d\.\d+, 1,210 parameters, outputs \(\d+, 10\)", out)
    assert "overfit\n  the loss went from " in out and "lr\n  suggestion " in out
    assert [path.name for path in tmp_path.iterdir()] == ["lr.png"]


def test_the_batch_size_is_looked_for_when_asked(lunar):
    code, out, err = lunar("rehearse", "digits-cnn", *SMALL, "--what", "batch-size")
    assert (code, err) == (0, "")
    assert re.search(r"^largest \d+, fastest \d+$", out, re.MULTILINE) and "overfit" not in out


def test_a_mistake_in_the_recipe_is_told(lunar):
    code, _, err = lunar("rehearse", "digits-cnn", "--set", "optimizer.lr=fast")
    assert code == 2 and "lr" in err
