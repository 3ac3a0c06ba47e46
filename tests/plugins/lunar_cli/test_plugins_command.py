"""lunar plugins, lunar models, and the summaries that they read from source text."""

from __future__ import annotations

import json
import sys

from lunar_cli.summary import summary

SOURCE = '''
"""A module of a stranger."""
raise RuntimeError("imported")

class Thing:
    """The thing, in one line.

    And more.
    """
'''


def test_the_list_is_lines_of_tab_separated_columns(lunar):
    code, out, err = lunar("plugins", "list", "--kind", "dataset")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["kind", "name", "target", "dist", "version", "status"]
    assert ["dataset", "digits", "lunar_data.digits:Digits", "lunarlearn"] in [row[:4] for row in rows]
    assert {row[0] for row in rows[1:]} == {"dataset"}


def test_json_is_an_array_of_objects(lunar):
    code, out, _ = lunar("plugins", "list", "--json")
    assert code == 0
    found = json.loads(out)
    assert all(list(c) == ["kind", "name", "target", "dist", "version", "status"] for c in found)
    assert {"digits", "accuracy", "train"} <= {c["name"] for c in found}


def test_a_kind_may_be_written_in_plural_and_an_unknown_one_is_explained(lunar):
    assert lunar("plugins", "list", "--kind", "datasets") == lunar("plugins", "list", "--kind", "dataset")
    code, _, err = lunar("plugins", "list", "--kind", "datset")
    assert code == 2
    assert "did you mean 'dataset'?" in err


def test_info_tells_source_state_documentation_and_hyperparameters(lunar):
    code, out, _ = lunar("plugins", "info", "digits")
    assert code == 0
    for text in (
        "dataset digits",
        "lunar_data.digits:Digits",
        "loaded",
        "1,797 handwritten digits",
        "divide the pixels",
    ):
        assert text in out
    (found,) = json.loads(lunar("plugins", "info", "datasets.digits", "--json")[1])
    assert found["parameters"] == [
        {
            "name": "scale",
            "type": "bool",
            "default": "True",
            "expects": "True or False",
            "doc": "divide the pixels by 16",
        }
    ]
    (found,) = json.loads(lunar("plugins", "info", "lunarlearn/idx", "--json")[1])
    assert [p["name"] for p in found["parameters"] if p["default"] == "required"] == ["images", "labels"]


def test_info_on_an_unknown_name_shows_the_nearest(lunar):
    code, _, err = lunar("plugins", "info", "digitz")
    assert code == 2
    assert "did you mean 'digits'" in err


def test_info_on_a_broken_plugin_tells_why(lunar, stranger):
    stranger("lunar-broken", {"broken_y": SOURCE}, {"lunar.datasets": {"thing": "broken_y:Thing"}})
    code, out, _ = lunar("plugins", "info", "thing")
    assert code == 0
    for text in ("lunar-broken", "broken", "RuntimeError: imported"):
        assert text in out


def test_models_are_listed_with_descriptions_that_are_read_not_imported(lunar, stranger):
    stranger("lunar-net", {"net_x": SOURCE}, {"lunar.models": {"netx": "net_x:Thing"}})
    code, out, err = lunar("models", "net*")
    assert (code, err) == (0, "")
    assert out == "model\tdescription\tpackage\nnetx\tThe thing, in one line.\tlunar-net 1.0\n"
    assert "net_x" not in sys.modules


def test_models_that_do_not_exist_are_said_not_to(lunar):
    code, out, err = lunar("models", "mnist_cn")
    assert (code, out) == (2, "")
    assert "did you mean 'mnist_cnn'" in err


def test_a_summary_follows_re_exports_and_gives_up_quietly(tmp_path, monkeypatch):
    package = tmp_path / "pkg_s"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        '"""The package."""\nfrom .inner import Thing\nfrom pkg_s.other import f as g\n'
    )
    (package / "inner" / "__init__.py").write_text("from ..deep import Other as Thing\n")
    (package / "deep.py").write_text('class Other:\n    """Deep down."""\n')
    (package / "other.py").write_text('def f():\n    """A function of 2.5 things\n    and more. The rest.\n    """\n')
    (package / "bad.py").write_text("def (:\n")
    (package / "loop.py").write_text("from pkg_s.loop import x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert summary("pkg_s:Thing") == "Deep down."
    assert summary("pkg_s:g") == "A function of 2.5 things and more."
    assert summary("pkg_s") == "The package."
    assert summary("pkg_s.deep:Other.method") == "Deep down."
    for target in (
        "pkg_s.deep:Nothing",
        "pkg_s.bad:x",
        "pkg_s.loop:x",
        "pkg_s.none:x",
        "no_such_package:x",
        "sys:x",
        "",
    ):
        assert summary(target) == ""
    assert "pkg_s" not in sys.modules
