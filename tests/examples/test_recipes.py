"""Every example in its quick form learns what its full form learns."""

import importlib
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "example_data")
RECIPES = {
    "mnist_mlp": lambda found: found["accuracy"] > 0.93,
    "mnist_cnn": lambda found: found["accuracy"] > 0.93,
    "autoencoder": lambda found: found["loss"] < 1.2 * found["linear"],
    "vae": lambda found: found["loss"] < 30,  # nats; an untrained one needs 45
    "siamese": lambda found: found["accuracy"] > 0.85 and found["neighbour"] > 0.85,
    "dcgan": lambda found: found["score"] > 3,  # 1 for one digit only
}


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Names and a book made of syllables, in a folder of their own."""
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(["ma", "ri", "el", "son", "ka"], rng.integers(1, 4))) for _ in range(1500)]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "names.txt").write_text("\n".join(names))
    (tmp_path / "text" / "tinyshakespeare.txt").write_text(" ".join(names * 3))
    monkeypatch.setenv("LUNAR_DATA", str(tmp_path))
    return names


def surprise(text):
    """Nats per character for who knows how frequent each is, and nothing else."""
    counts = Counter(text)
    return -sum(n / len(text) * math.log(n / len(text)) for n in counts.values())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_learns(name, capsys):
    found = importlib.import_module(name).main(quick=True)
    assert RECIPES[name](found), found
    assert capsys.readouterr().out


def test_an_lstm_learns_to_spell(words):
    found = importlib.import_module("names_lstm").main(quick=True)
    assert found["loss"] < 0.6 * surprise(".".join(words))
    assert any(name in words for name in found["names"])


def test_a_gpt_learns_to_spell(words):
    found = importlib.import_module("char_gpt").main(quick=True)
    assert found["loss"] < 0.7 * surprise(" ".join(words))


def test_mnist_is_found_at_any_depth(tmp_path, monkeypatch):
    data = importlib.import_module("example_data")
    monkeypatch.setenv("LUNAR_DATA", str(tmp_path))
    assert data.images(quick=False)[0][0][0].shape == (1, 8, 8)
    (tmp_path / "deep").mkdir()
    for part, count in (("train", 6), ("t10k", 4)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
            (tmp_path / "deep" / f"{part}-{kind}-ubyte").write_bytes(header + bytes(math.prod(shape)))
    train, test = data.images(quick=False)
    assert (len(train), len(test)) == (6, 4)
    assert train[0][0].shape == (1, 28, 28)


@pytest.mark.parametrize("quick, code", [("", 1), ("1", 0)], ids=["in-earnest", "quick"])
def test_a_missing_text_is_said_and_is_no_failure_of_the_quick_form(tmp_path, quick, code):
    env = {**os.environ, "LUNAR_DATA": str(tmp_path), "LUNAR_EXAMPLE_QUICK": quick}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "names_lstm.py"], check=False, env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code
    assert "names.txt" in done.stderr and "LUNAR_DATA" in done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short_and_says_what_came_out(name):
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert source.count("\n") < 120
    assert "Result" in source.split('"""')[1]
