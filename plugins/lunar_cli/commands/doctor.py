"""``lunar doctor``: is what is installed sound, and if not, who is to blame."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.argument("dists", metavar="[DIST]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with everything that was found.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, metavar="SECONDS",
    help="How long one component may take.",
)  # fmt: skip
@click.option("--rehearse/--no-rehearse", default=True, help="Try strangers' hook plugins in a small training run.")
@click.option("--strict", is_flag=True, help="Warnings make the exit code 1, too.")
def doctor(dists: tuple[str, ...], as_json: bool, timeout: float, rehearse: bool, strict: bool) -> int:
    """Examine the installed plugins, all or those of the distributions DIST.

    Every component is imported, in a process of its own for each distribution, so that nothing a plugin does ends the
    examination. Reported are failures with their cause, slow imports, misspelled hooks, hook plugins that raise, hang or
    change what they may only look at, names that several claim, versions and requirements that do not fit, editable
    installs that are out of date, and what this machine offers. The exit code is 1 if anything is in error.
    """
    from lunar_cli.doctor.report import examine

    report = examine(dists, seconds=timeout, rehearse=rehearse)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    return 0 if report.sound and not (strict and report.problems) else 1


def _show(report: Any) -> None:
    from lunar_cli.console import table

    columns = ("distribution", "version", "components", "import", "location")
    rows = []
    for row in report.distributions:
        mine = [c for c in report.components if c["dist"] == row["dist"]]
        seconds = sum(c["seconds"] for c in mine)
        where = f"{row['editable']} (editable)" if row["editable"] else row["location"]
        rows.append([row["dist"], row["version"], str(len(mine)), f"{seconds:.2f} s", where])
    table(columns, rows, {"distribution": "cyan", "location": "dim"})
    click.echo()
    columns = ("kernels", "state", "ops")
    rows = []
    for row in report.kernels:
        state = "available" if row["available"] else row["reason"]
        ops = row["ops"] if row["available"] else row["lost"]
        rows.append([row["name"], state, ("" if row["available"] else "lost: ") + ", ".join(ops)])
    table(columns, rows, {"kernels": "cyan"})
    click.echo()
    columns = ("device", "state", "description")
    rows = [
        [d["name"], "available" if d["available"] else "not here", d["reason"] or d["description"]]
        for d in report.devices
    ]
    table(columns, rows, {"device": "cyan"})
    click.echo()
    for problem in report.problems:
        who = " ".join(part for part in (problem.dist, problem.component) if part)
        color = "red" if problem.level == "error" else "yellow"
        click.echo(click.style(problem.level, fg=color, bold=True) + f" {who}: {problem.cause}".replace(" : ", " "))
        if problem.hint:
            click.echo(f"  {problem.hint}")
    errors = sum(p.level == "error" for p in report.problems)
    warned = len(report.problems) - errors
    summary = f"{len(report.components)} components of {len(report.distributions)} distributions: "
    summary += f"{errors} error{'s' * (errors != 1)}, {warned} warning{'s' * (warned != 1)}"
    click.secho(summary, bold=True, fg="red" if errors else "yellow" if warned else "green")
