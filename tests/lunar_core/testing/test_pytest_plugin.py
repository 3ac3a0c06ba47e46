"""The fixtures that a plugin package's tests have wherever LunarLearn is installed."""

from __future__ import annotations

import sys

import pytest

import lunar_core as lc

SOURCE = '''
from lunar_core.contracts.activation import Activation

class Halved(Activation):
    """``x / 2``, elementwise."""

    def forward(self, x):
        return x * 0.5
'''
ENTRY = {"lunar.activations": {"halved": "halved_for_a_test:Halved"}}


def test_an_isolated_registry_leaves_the_process_alone(lunar_registry):
    class Sgd(lc.registry.get("optimizer", "sgd")):
        """Mine."""

    lunar_registry.register("optimizer", "mine", Sgd)
    lunar_registry.disable("optimizers.adam")
    assert lunar_registry.get("optimizer", "mine") is Sgd
    assert "mine" not in lc.registry.names("optimizer") and "adam" in lc.registry.names("optimizer")
    assert lunar_registry.manager is not lc.registry.manager


@pytest.mark.parametrize("turn", ["first", "second"])
def test_an_installed_package_is_there_for_one_test(lunar_installed, turn):
    assert "halved_for_a_test" not in sys.modules
    registry = lunar_installed("lunar-halved", {"halved_for_a_test": SOURCE}, ENTRY, version="2.1")
    assert registry.info("activation", "halved").version == "2.1"
    assert registry.create("activation", "lunar-halved/halved")(lc.tensor([4.0])).item() == 2.0
    assert "halved_for_a_test" in sys.modules


def test_it_is_gone_afterwards():
    assert "halved_for_a_test" not in sys.modules


def test_the_command_line_sees_what_the_test_installed(lunar_installed, lunar_run):
    lunar_installed("lunar-halved", {"halved_for_a_test": SOURCE}, ENTRY)
    done = lunar_run("plugins", "info", "lunar-halved/halved")
    assert done.returncode == 0 and "``x / 2``, elementwise." in done.stdout


def test_a_run_gives_its_figures_and_its_folder(lunar_train):
    figures = lunar_train("epochs=1")
    assert 0 < figures["accuracy"] <= 1 and (figures.folder / "history.json").exists() and "epoch" in figures.output
