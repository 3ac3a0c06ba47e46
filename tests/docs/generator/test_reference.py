"""The committed reference of the functions of arrays is what the sources say."""

import inspect

import pytest

from docs.generator.reference import COMMAND, FOLDER, ROOT, example, generate, public, stale
from lunar_core.op import OPS, Op


@pytest.fixture(scope="module")
def files():
    return generate()


def test_the_committed_pages_are_what_the_generator_writes(files):
    assert stale(files) == [], f"run `{COMMAND}` in the root of the repository and commit what it writes"


def test_every_function_has_a_docstring_and_an_entry(files):
    text = "\n".join(files.values())
    for name, function in public().items():
        assert inspect.getdoc(function), name
        assert f"\n## {name}\n" in text or f"`{name}`" in text, name


def test_every_function_but_the_helpers_of_rules_shows_an_example():
    # what gradient rules and layers are made of, whose arguments say little by themselves
    helpers = {
        "adaptive_max_places",
        "adaptive_mean",
        "batch_moments",
        "batch_norm_inference",
        "read_pixels",
        "spread_pixels",
    }
    for name, function in public().items():
        own = function.name if isinstance(function, Op) else function.__name__.rstrip("_")
        if "_grad" in own or own.endswith("_with_index") or own in helpers:
            continue
        assert example(own, function) is not None, name


def test_a_page_that_changed_or_is_left_over_is_noticed(files, tmp_path):
    (tmp_path / FOLDER).mkdir(parents=True)
    first, *_ = sorted(files)
    for name, text in files.items():
        (tmp_path / name).write_text(text + "x" * (name == first), encoding="utf-8")
    (tmp_path / FOLDER / "gone.md").write_text("")
    assert stale(files, tmp_path) == sorted([first, f"{FOLDER}/gone.md"])
    assert ROOT.joinpath("docs").is_dir() and OPS
