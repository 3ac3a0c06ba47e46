"""The command group: lazy commands, help from metadata, and what an error looks like."""

from __future__ import annotations

import json
import sys

import click
import pytest
from packages import answers

from lunar_cli import main as cli_module
from lunar_core.errors import DataError

HELLO = """
'''Says hello.'''
import click

@click.command()
@click.option("--to", default="you")
def hello(to):
    '''Greet somebody from afar.'''
    click.echo(f"hello, {to}")

def made():
    '''A factory.'''
    return hello

number = 3
"""


def test_help_names_every_command_with_what_it_does(lunar):
    code, out, err = lunar("--help")
    assert (code, err) == (0, "")
    for text in ("train", "Train as a recipe says", "plugins", "models", "version", "--no-plugin"):
        assert text in out


def test_a_strangers_command_is_listed_unimported_and_run_by_name(lunar, stranger):
    stranger("lunar-hello", {"hello_x": HELLO}, {"lunar.commands": {"hello": "hello_x:hello", "made": "hello_x:made"}})
    _, out, _ = lunar("--help")
    assert "Greet somebody from afar. [lunar-hello 1.0]" in " ".join(out.split())
    assert "hello_x" not in sys.modules
    assert lunar("hello", "--to", "moon") == (0, "hello, moon\n", "")
    assert lunar("made", "--to", "mars") == (0, "hello, mars\n", "")


def test_a_broken_command_is_named_and_the_others_work(lunar, stranger):
    modules = {"broken_x": "import nothing_of_that_name"}
    stranger("lunar-broken", modules, {"lunar.commands": {"broken": "broken_x:run"}})
    assert lunar("--help")[0] == 0
    code, out, err = lunar("broken")
    assert (code, out) == (2, "")
    assert "lunar-broken 1.0" in err
    assert "nothing_of_that_name" in err
    assert "Traceback" not in err
    assert lunar("version")[0] == 0


def test_completion_offers_commands_and_recipes_and_survives_a_broken_one(registry, stranger):
    from click.shell_completion import ShellComplete

    stranger(
        "lunar-broken", {"broken_z": "import nothing_of_that_name"}, {"lunar.commands": {"broken": "broken_z:run"}}
    )
    complete = ShellComplete(cli_module.cli, {"obj": {"debug": False}}, "lunar", "_LUNAR_COMPLETE")
    offered = {item.value for item in complete.get_completions([], "")}
    assert offered >= {"train", "plugins", "models", "version"} and "broken" not in offered
    assert "digits-cnn" in [item.value for item in complete.get_completions(["train"], "dig")]


def test_what_is_no_command_is_said_to_be_none(lunar, stranger):
    stranger("lunar-odd", {"odd_x": HELLO}, {"lunar.commands": {"odd": "odd_x:number"}})
    code, _, err = lunar("odd")
    assert code == 2
    assert "click.Command" in err


def test_a_hook_plugin_may_add_commands(lunar, registry):
    @click.command()
    def added():
        """Put there by a hook."""
        click.echo("added ran")

    class Plugin:
        def lunar_register_commands(self, group):
            group.add_command(added)

    registry.register("plugin", "adds_commands", Plugin())
    group = cli_module.cli
    group._asked = False
    try:
        assert "Put there by a hook." in lunar("--help")[1]
        assert lunar("added") == (0, "added ran\n", "")
    finally:
        group._asked = False
        group.commands.clear()


ADDS = """
import click

def lunar_register_commands(group):
    group.add_command(click.Command("late", callback=lambda: click.echo("late ran")))
"""

LOOKS = """
def lunar_fit_start(ctx):
    pass
"""


def test_only_hook_plugins_that_speak_of_commands_are_imported_for_the_help(lunar, registry, stranger):
    group = cli_module.cli
    group._asked = False
    try:
        stranger("lunar-looks", {"looks_x": LOOKS}, {"lunar.plugins": {"looks": "looks_x"}})
        assert lunar("--help")[0] == 0
        assert "looks_x" not in sys.modules
        assert lunar("late")[0] == 2
        group._asked = False
        stranger("lunar-adds", {"adds_x": ADDS}, {"lunar.plugins": {"adds": "adds_x"}})
        registry.refresh()
        assert lunar("late") == (0, "late ran\n", "")
    finally:
        group._asked = False
        group.commands.clear()


def test_an_unknown_command_shows_the_nearest(lunar):
    code, out, err = lunar("trian")
    assert (code, out) == (2, "")
    assert "did you mean 'train'?" in err
    assert "Traceback" not in err


def test_an_unknown_option_is_an_error_of_the_user(lunar):
    code, _, err = lunar("--nonsense")
    assert code == 2
    assert "--nonsense" in err


@pytest.fixture
def failing(registry):
    def add(error):
        @click.command()
        def fail():
            raise error

        registry.register("command", "fail", fail)

    return add


def test_a_mistake_is_one_message_and_exit_code_2(lunar, failing):
    failing(DataError("the data is odd", hint="use other data"))
    assert lunar("fail") == (2, "", "Error: the data is odd\n  use other data\n")


def test_debug_shows_the_traceback_and_keeps_the_exit_code(lunar, failing, monkeypatch):
    failing(DataError("the data is odd"))
    code, _, err = lunar("--debug", "fail")
    assert code == 2
    assert "Traceback" in err
    assert err.endswith("Error: the data is odd\n")
    monkeypatch.setenv("LUNAR_DEBUG", "1")
    assert "Traceback" in lunar("fail")[2]


def test_global_options_may_stand_at_the_end(lunar, failing):
    failing(DataError("the data is odd"))
    assert "Traceback" in lunar("fail", "--debug")[2]
    assert "switched off" in lunar("version", "--no-plugin=commands.version")[2]
    _, out, _ = lunar("plugins", "list", "--kind", "dataset", "--json", "--no-plugin", "datasets.digits")
    assert {c["name"]: c["status"] for c in json.loads(out)}["digits"] == "blocked"
    assert lunar("version", "--", "--debug")[0] == 2


def test_a_bug_says_so_and_exits_with_1(lunar, failing):
    failing(ZeroDivisionError("division by zero"))
    code, _, err = lunar("fail")
    assert code == 1
    assert err.startswith("Internal error: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in err


def test_a_failure_of_the_system_is_a_message(lunar, failing):
    failing(PermissionError(13, "Permission denied", "/locked/x"))
    code, _, err = lunar("fail")
    assert code == 2
    assert "Permission denied: '/locked/x'" in err


def test_an_interrupt_exits_with_130(lunar, failing):
    failing(KeyboardInterrupt())
    code, _, err = lunar("fail")
    assert code == 130
    assert "Interrupted." in err


def test_warnings_are_lines_without_file_names(lunar, registry):
    @click.command()
    def warn():
        import warnings

        warnings.warn("look out", stacklevel=1)

    registry.register("command", "warn", warn)
    assert lunar("warn") == (0, "", "Warning: look out\n")


def test_no_plugin_switches_off_before_the_command_runs(lunar):
    code, out, _ = lunar("--no-plugin", "datasets.digits", "--no-plugin", "metrics.*", "plugins", "list", "--json")
    assert code == 0
    status = {(c["kind"], c["name"]): c["status"] for c in json.loads(out)}
    assert status["dataset", "digits"] == "blocked"
    assert status["metric", "accuracy"] == "blocked"
    assert status["dataset", "idx"] == "available"


def test_no_plugin_with_a_name_that_cannot_be_is_an_error(lunar):
    code, _, err = lunar("--no-plugin", "digits", "version")
    assert code == 2
    assert "'digits' names no plugin" in err
    assert (
        "Warning: --no-plugin: 'datasets.digitz' is not installed"
        in lunar("--no-plugin", "datasets.digitz", "models")[2]
    )


def test_a_command_can_be_switched_off(lunar):
    code, _, err = lunar("--no-plugin", "commands.version", "version")
    assert code == 2
    assert "switched off" in err


@pytest.mark.parametrize("args", [["--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["models"]])
def test_listing_imports_neither_components_nor_what_is_heavy(args):
    code = f"""
        import json, sys
        from lunar_cli.main import main
        assert main({args!r}) == 0
        watched = ("lunar_", "rich", "matplotlib", "safetensors")
        print(json.dumps(sorted(m for m in sys.modules if m.startswith(watched))))
    """
    modules = answers(code)
    allowed = ("lunar_core", "lunar_cli")
    assert [m for m in modules if m.partition(".")[0] not in allowed] == []


def test_the_version_is_the_distributions(lunar):
    from importlib.metadata import version

    assert lunar("--version") == (0, f"lunar {version('lunarlearn')}\n", "")
    code, out, _ = lunar("version")
    assert code == 0
    assert version("numpy") in out


def test_models_shows_the_layers_of_a_model(lunar):
    code, out, _ = lunar("models", "mlp", "--input", "1x8x8")
    assert code == 0
    assert "layers.0" in out and "4,160" in out and "8,970 trained" in out and "17.79 kFLOPs" in out
    assert "layers.0" not in lunar("models", "mlp", "--summary", "--input", "1,8,8", "--depth", "0")[1]
    code, _, err = lunar("models", "mlp", "--summary")
    assert code == 2 and "give it: --input 3x224x224" in err
    code, _, err = lunar("models", "mlp", "--input", "8by8")
    assert code == 2 and "'8by8' is no shape" in err
