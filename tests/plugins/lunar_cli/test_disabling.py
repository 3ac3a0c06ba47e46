"""lunar plugins disable, enable and info: the user's configuration is edited, and nothing else in it."""

from __future__ import annotations

import sys
import tomllib

import pytest

from lunar_core.errors import ConfigError
from lunar_core.plugins.editing import switch_off, switch_on, switched_off

SOURCE = '''
from lunar_core.component import field
from lunar_core.contracts.optimizer import Optimizer

class Adam(Optimizer):
    """Another Adam.

    At length.
    """

    lr: float = field(default=0.5, doc="size of every step")

    @staticmethod
    def update(p, g, *, lr):
        return p - lr * g
'''


@pytest.fixture(autouse=True)
def user_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNAR_CONFIG", str(tmp_path / "home" / "lunar.toml"))
    return tmp_path / "home" / "lunar.toml"


def test_what_is_disabled_is_listed_as_blocked_until_it_is_enabled(lunar, registry, user_file):
    code, out, err = lunar("plugins", "disable", "adamw")
    assert code == 0 and "optimizers.adamw is switched off" in out, err
    assert tomllib.loads(user_file.read_text()) == {"disable": ["optimizers.adamw"]}
    registry.refresh()
    assert registry.info("optimizer", "adamw").status == "blocked"
    assert "already" in lunar("plugins", "disable", "optimizers.adamw")[1]
    code, out, _ = lunar("plugins", "enable", "adamw")
    assert code == 0 and "switched on again" in out
    registry.refresh()
    assert registry.info("optimizer", "adamw").status == "available"


def test_a_project_has_a_list_of_its_own(lunar, tmp_path, user_file):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"  # mine\n\n[tool.lunar.override]\n"losses.mse" = "foo"\n'
    )
    assert lunar("plugins", "disable", "--project", "layers.*")[0] == 0
    text = (tmp_path / "pyproject.toml").read_text()
    assert tomllib.loads(text)["tool"]["lunar"] == {"disable": ["layers.*"], "override": {"losses.mse": "foo"}}
    assert 'name = "x"  # mine' in text and not user_file.exists()
    assert lunar("plugins", "enable", "layers.*")[0] == 0
    assert tomllib.loads((tmp_path / "pyproject.toml").read_text())["tool"]["lunar"]["disable"] == []


def test_mistakes_are_told(lunar, monkeypatch):
    code, _, err = lunar("plugins", "disable", "mse")
    assert code == 2 and "losses.mse" in err and "metrics.mse" in err
    code, _, err = lunar("plugins", "disable", "adamww")
    assert code == 2 and "did you mean" in err
    code, _, err = lunar("plugins", "enable", "adamw")
    assert code == 2 and "is not switched off" in err
    monkeypatch.setenv("LUNAR_DISABLE_PLUGINS", "optimizers.ada*")
    code, _, err = lunar("plugins", "enable", "optimizers.adamw")
    assert code == 2 and "stays switched off by 'optimizers.ada*' in LUNAR_DISABLE_PLUGINS" in err


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# a comment\ndisable = []  # nothing\n",
        'disable = [\n  "layers.dense",  # slow\n  "dist:foo",\n]\n\n[override]\n"optimizers.adam" = "foo"\n',
        '[override]\n"optimizers.adam" = "foo"\n',
    ],
)
def test_only_the_list_changes(tmp_path, text):
    file = tmp_path / "lunar.toml"
    file.write_text(text)
    before = tomllib.loads(text)
    assert switch_off(["optimizers.lion", "dist:Some_Thing"], file) == ["optimizers.lion", "dist:Some_Thing"]
    after = tomllib.loads(file.read_text())
    assert after == {**before, "disable": [*before.get("disable", []), "optimizers.lion", "dist:Some_Thing"]}
    assert switch_off(["dist:some-thing"], file) == []
    assert switch_on(["dist:some-thing", "losses.mse"], file) == ["dist:Some_Thing"]
    assert [rule.text for rule in switched_off(file)] == [*before.get("disable", []), "optimizers.lion"]


@pytest.mark.parametrize("text", ['disable = "adam"\n', "disable = [1]\n", "not toml\n", 'disable = ["no-kind"]\n'])
def test_a_file_that_is_not_understood_is_left_alone(tmp_path, text):
    file = tmp_path / "lunar.toml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        switch_off(["optimizers.lion"], file)
    assert file.read_text() == text


def test_a_list_that_cannot_be_edited_safely_is_not(tmp_path):
    file = tmp_path / "lunar.toml"
    file.write_text('disable = ["optimizers.a]b"]\n')
    with pytest.raises(ConfigError, match="cannot be edited safely"):
        switch_off(["optimizers.lion"], file)
    assert file.read_text() == 'disable = ["optimizers.a]b"]\n'


def test_info_says_which_of_two_namesakes_a_name_means_and_imports_that_one(lunar, stranger):
    stranger("lunar-thief", {"thief_x": SOURCE}, {"lunar.optimizers": {"adam": "thief_x:Adam"}})
    code, out, _ = lunar("plugins", "info", "adam")
    assert code == 0 and "lunar_optimizers.adam:Adam" in out
    assert "'adam' alone means that of lunarlearn; lunar-thief/adam goes by its full name" in out
    assert "thief_x" not in sys.modules
    code, out, _ = lunar("plugins", "info", "lunar-thief/adam")
    assert code == 0 and "thief_x:Adam" in out and "size of every step" in out and "'adam' alone means" in out


def test_info_shows_types_and_hooks(lunar):
    out = lunar("plugins", "info", "optimizers.adamw")[1]
    assert "tuple[float, float]" in out
    assert "lunar_" in lunar("plugins", "info", "callbacks.early_stopping")[1]


def test_info_on_a_name_of_two_kinds_says_so(lunar):
    assert lunar("plugins", "info", "mse")[1].startswith("mse means losses.mse and metrics.mse.\n")
