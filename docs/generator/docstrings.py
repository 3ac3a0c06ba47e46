"""From the docstrings of the sources, which are reStructuredText, to GitHub's Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap

_CODE = re.compile(r"(``.+?``)", re.DOTALL)
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_LABEL = re.compile(r"(Shapes?|Source|State):")
_SENTENCE = re.compile(r"(?<!\b[A-Z])(?<! al)(?<!etc)(?<!e\.g)(?<!i\.e)\.(?=\s|$)")


def inline(text: str) -> str:
    """A stretch of running text."""
    text = _ROLE.sub(lambda match: f"``{_short(match.group(0), match.group(1))}``", text)
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"`{part[2:-2].strip()}`"
        else:
            part = part.replace("*", r"\*").replace("<", "&lt;")
            parts[i] = _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", part)
    return "".join(parts)


def _short(role: str, target: str) -> str:
    """``~a.b.C`` shows its last part, as Sphinx has it."""
    return target.rpartition(".")[2] if "`~" in role else target


def cell(text: str) -> str:
    """Running text in a table."""
    return " ".join(inline(text).split()).replace("|", r"\|")


def summary(doc: str) -> str:
    """The first sentence of a docstring, still in its own markup."""
    first = " ".join(inspect.cleandoc(doc).split("\n\n", 1)[0].split())
    hidden = _CODE.sub(lambda match: "x" * len(match.group(0)), first)  # a dot in code ends no sentence
    end = _SENTENCE.search(hidden)
    sentence = (first[: end.start()] if end else first).rstrip(":")
    return f"{sentence}."


def markdown(doc: str) -> str:
    """A whole docstring."""
    blocks: list[str] = []
    for is_code, text in _stretches(inspect.cleandoc(doc).split("\n")):
        blocks += [f"```python\n{textwrap.dedent(text)}\n```"] if is_code else _prose(text)
    return "\n\n".join(blocks)


def _stretches(lines: list[str]) -> list[tuple[bool, str]]:
    """Running text and code in turns; code is what is indented deeper after a line that ends in ``::``."""
    found: list[tuple[bool, str]] = []
    here: list[str] = []
    announced: int | None = None  # indentation of the line that announced code
    in_code = False

    def close() -> None:
        if "".join(here).strip():
            found.append((in_code, "\n".join(here).strip("\n")))
        here.clear()

    for line in lines:
        depth = len(line) - len(line.lstrip())
        if line.strip():
            if announced is not None and not in_code and depth > announced:
                close()
                in_code = True
            elif in_code and announced is not None and depth <= announced:
                close()
                in_code = False
            if not in_code:
                announced = depth if line.rstrip().endswith("::") else None
        here.append(line)
    close()
    return found


def _prose(text: str) -> list[str]:
    """The Markdown blocks of running text."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        lines = textwrap.dedent(block).split("\n")
        if lines[0].strip() == "Raises:":
            errors = _entries([line[4:] for line in lines[1:]])
            blocks.append("**Raises:**\n" + "".join(f"\n- `{name}`: {inline(text)}" for name, _, text in errors))
            continue
        shown = inline("\n".join(lines))
        shown = f"{shown[:-2]}:" if shown.endswith("::") else shown
        if shown == ":":
            continue  # announced the code that follows, and nothing else
        blocks.append(_LABEL.sub(r"**\1:**", shown, count=1) if _LABEL.match(shown) else shown)
    return blocks


def _entries(lines: list[str]) -> list[tuple[str, str, str]]:
    """``Name: text`` entries, whose further lines are indented."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(" ") and joined:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return [line.partition(": ") for line in joined]
