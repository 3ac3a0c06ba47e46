"""The entry point of ``lunar``: global options, lazily found commands, and what an error looks like.

Nothing here imports a command, a component or rich before it is needed; ``lunar --help`` is answered from metadata and
source text.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import click

USER_ERROR = 2
INTERNAL_ERROR = 1
INTERRUPTED = 130


class Commands(click.Group):
    """Commands by registry name (kind ``"command"``), each imported when it is run.

    A hook plugin may add further ones in ``lunar_register_commands(group)``. Hook plugins have to be imported for that,
    so they are asked only for the help page and for a name that the registry lacks, and only if the source of one of
    them speaks of that hook.
    """

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        from lunar_core.plugins import registry

        self._ask_hook_plugins()
        return sorted({*registry.names("command"), *self.commands})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        from lunar_core.errors import PluginError
        from lunar_core.plugins import registry

        if name in registry.names("command"):
            try:
                return load_command(name)
            except PluginError:
                if ctx.resilient_parsing:  # completion looks at every command: a broken one must not end it
                    return None
                raise
        self._ask_hook_plugins()
        return self.commands.get(name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0].startswith("-"):
            return super().resolve_command(ctx, args)  # click's own message about the option
        command = self.get_command(ctx, args[0])
        return args[0], load_command(args[0]) if command is None else command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from lunar_cli.summary import summary
        from lunar_core.plugins import FIRST_PARTY, registry

        rows = []
        for name in self.list_commands(ctx):
            if name in self.commands:
                rows.append((name, self.commands[name].get_short_help_str(80)))
                continue
            info = registry.info("command", name)
            origin = "" if info.dist == FIRST_PARTY else f" [{info.dist} {info.version}]"
            rows.append((name, f"{summary(info.target)}{origin}".strip()))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _ask_hook_plugins(self) -> None:
        from lunar_cli.summary import mentions
        from lunar_core.plugins import registry

        if self._asked:
            return
        self._asked = True
        usable = [c for c in registry.components("plugin") if c.status != "blocked"]
        if any(c.status == "loaded" or mentions(c.target, "lunar_register_commands") for c in usable):
            registry.load_hook_plugins()
            tell = registry.manager.bus.register_commands
            if tell is not None:
                tell(self)


def load_command(name: str) -> click.Command:
    """The click command of this registry name; where the entry point names a factory, what it makes.

    Raises what the registry raises (unknown, blocked, broken), and PluginLoadError for what is no command.
    """
    from lunar_core.errors import PluginLoadError
    from lunar_core.plugins import registry

    target = registry.get("command", name)
    command = target() if callable(target) and not isinstance(target, click.Command) else target
    if not isinstance(command, click.Command):
        raise PluginLoadError(
            f"command {name!r} of {registry.info('command', name).origin} is {command!r}",
            hint="its entry point must name a click.Command, or a function without arguments that returns one",
        )
    return command


def _block(ctx: click.Context, param: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        from lunar_core.plugins import registry

        registry.disable(*names, source="--no-plugin")


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.obj["debug"] = value


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        from lunar_core.plugins import FIRST_PARTY

        click.echo(f"lunar {version(FIRST_PARTY)}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--no-plugin",
    multiple=True,
    metavar="NAME",
    callback=_block,
    expose_value=False,
    is_eager=True,
    help="Switch a plugin off before anything is imported: optimizers.adam, 'layers.*', dist:some-package. Repeatable.",
)
@click.option(
    "--debug",
    is_flag=True,
    callback=_debug,
    expose_value=False,
    is_eager=True,
    envvar="LUNAR_DEBUG",
    help="Show the traceback of an error.",
)
@click.option(
    "--version",
    is_flag=True,
    callback=_version,
    expose_value=False,
    is_eager=True,
    help="Show the version and exit.",
)
def cli() -> None:
    """LunarLearn: deep learning on NumPy and CuPy in which everything but a small core is a plugin."""


def main(args: Sequence[str] | None = None) -> int:
    """Run ``lunar`` with ``args`` (the process's own by default) and return the exit code.

    0 is success, 2 a mistake of the user, 1 a bug, 130 an interrupt. A mistake is one message on standard error; its
    traceback is shown under ``--debug`` only.
    """
    arguments = _global_options_first(sys.argv[1:] if args is None else args)
    state: dict[str, Any] = {"debug": False}
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            result = cli.main(arguments, prog_name="lunar", standalone_mode=False, obj=state)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            click.echo("Interrupted.", err=True)
            return INTERRUPTED
        except Exception as error:
            return _report(error, state["debug"])
        return result if isinstance(result, int) else 0


def _global_options_first(args: Sequence[str]) -> list[str]:
    """The arguments with ``--debug`` and ``--no-plugin NAME`` moved to the front, since people add them at the end."""
    front: list[str] = []
    rest = list(args)
    place = 0
    while place < len(rest) and rest[place] != "--":
        if rest[place] == "--debug" or rest[place].startswith("--no-plugin="):
            front.append(rest.pop(place))
        elif rest[place] == "--no-plugin":
            front += rest[place : place + 2]
            del rest[place : place + 2]
        else:
            place += 1
    return front + rest


def _report(error: Exception, debug: bool) -> int:
    """Show an error as the user needs it, and say which exit code it means."""
    from lunar_core.errors import LunarError

    if debug:
        traceback.print_exception(error)
    if isinstance(error, (LunarError, OSError)):
        _say("Error: ", "red", str(error))
        return USER_ERROR
    _say("Internal error: ", "red", f"{type(error).__name__}: {error}")
    if not debug:
        click.echo("This is a bug of LunarLearn or of a plugin. lunar --debug ... shows where it is.", err=True)
    return INTERNAL_ERROR


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    _say("Warning: ", "yellow", str(message))


def _say(label: str, color: str, text: str) -> None:
    click.echo(click.style(label, fg=color, bold=True) + text, err=True)
