"""From docstrings to Markdown."""

import pytest

from docs.generator.docstrings import cell, inline, markdown, summary


@pytest.mark.parametrize(
    "text, expected",
    [
        ("``x ** 2`` and a * b", r"`x ** 2` and a \* b"),
        ("see :class:`~a.b.Adam`", "see `Adam`"),
        ("see :func:`a.b.adam`", "see `a.b.adam`"),
        ("arXiv:1711.05101, eq. 2", "[arXiv:1711.05101](https://arxiv.org/abs/1711.05101), eq. 2"),
        ("``arXiv:1711.05101``", "`arXiv:1711.05101`"),
        ("a < b", "a &lt; b"),
    ],
    ids=["code", "short-role", "role", "arxiv", "arxiv-in-code", "angle"],
)
def test_running_text(text, expected):
    assert inline(text) == expected


def test_a_bar_does_not_end_a_cell():
    assert cell("``|x|`` or\n  y") == r"`\|x\|` or y"


@pytest.mark.parametrize(
    "doc, expected",
    [
        ("One line. Another.", "One line."),
        ("A formula::\n\n    y = x", "A formula."),
        (
            "The rule of ``a. b`` by A. Author et al. in 2020. More.",
            "The rule of ``a. b`` by A. Author et al. in 2020.",
        ),
    ],
    ids=["sentence", "announcement", "abbreviations"],
)
def test_the_first_sentence(doc, expected):
    assert summary(doc) == expected


def test_blocks():
    doc = """First::

        class A:

            x = 1

    Shapes: x (N, ...) -> y.
    Formula::
        a = b
        c = d
    and on.

    ::

        alone

    - one
    - two

    Raises:
        ShapeError: when it
            does not fit.
        DTypeError: integers.
    """
    assert markdown(doc) == (
        "First:\n\n```python\nclass A:\n\n    x = 1\n```\n\n**Shapes:** x (N, ...) -> y.\nFormula:\n\n"
        "```python\na = b\nc = d\n```\n\nand on.\n\n```python\nalone\n```\n\n- one\n- two\n\n"
        "**Raises:**\n\n- `ShapeError`: when it does not fit.\n- `DTypeError`: integers."
    )
