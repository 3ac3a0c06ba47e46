"""The committed catalogue is what the sources say."""

import re
import xml.etree.ElementTree

import pytest

from docs.generator.pages import COMMAND, FOLDER, ROOT, generate, own_names, stale, write
from lunar_core.plugins.groups import GROUPS

CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
PAGES = sorted((ROOT / FOLDER).glob("*.md"))


@pytest.fixture(scope="module")
def files():
    return generate()


def test_the_committed_pages_are_what_the_generator_writes(files):
    assert stale(files) == [], f"run `{COMMAND}` in the root of the repository and commit what it writes"


def test_every_component_has_an_entry_and_a_row(files):
    for kind, group in GROUPS.items():
        page = files.get(f"{FOLDER}/{group.removeprefix('lunar.')}.md", "")
        assert re.findall(r"^## (.*)$", page, re.MULTILINE) == own_names(kind)
        for name in own_names(kind):
            assert f"[`{name}`](#{name})" in page


def test_activations_schedules_and_optimizers_are_drawn(files):
    for kind, without in {"activation": (), "scheduler": (), "optimizer": ("hybrid", "maml")}.items():
        drawn = {n.removesuffix(".svg").partition(f"plots/{kind}-")[2] for n in files if f"plots/{kind}-" in n}
        assert set(own_names(kind)) - drawn == set(without)


def test_pictures_are_small_and_well_formed(files):
    pictures = {name: text for name, text in files.items() if name.endswith(".svg")}
    for name, text in pictures.items():
        assert len(text) < 10_000, name
        assert xml.etree.ElementTree.fromstring(text).tag.endswith("svg")
        assert "nan" not in text and "inf" not in text
    assert sum(map(len, files.values())) < 3_000_000


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in set(re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", text))):
        if link.startswith("#"):
            assert f"\n## {link[1:]}\n" in text, link
        elif not link.startswith("https://"):
            assert (page.parent / link).resolve().exists(), link


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_no_trace_of_restructured_text_or_of_a_machine_is_left(page):
    prose = CODE.sub("", page.read_text(encoding="utf-8"))
    for trace in ("::", ":class:", ":func:", ":meth:", "0x", str(ROOT)):
        assert trace not in prose, trace


def test_what_changed_is_written_and_what_is_gone_is_removed(tmp_path):
    page, drawing = f"{FOLDER}/a.md", f"{FOLDER}/plots/b.svg"
    write({page: "one", drawing: "<svg>1.0</svg>"}, [page, drawing], tmp_path)
    assert stale({page: "one", drawing: "<svg>1.4</svg>"}, tmp_path) == []  # half a pixel is another machine's rounding
    assert stale({page: "two", drawing: "<svg>2.0</svg>"}, tmp_path) == [page, drawing]
    changed = stale({page: "one"}, tmp_path)
    assert changed == [drawing]
    write({page: "one"}, changed, tmp_path)
    assert not (tmp_path / drawing).exists() and (tmp_path / page).exists()
