"""The command line. Each command is a function of one of these files."""

import errno
import signal
import sys

import typer

from eyeline.cli.checking import check
from eyeline.cli.looking import compare, heads, look, steps
from eyeline.cli.models import models_get, models_list
from eyeline.cli.showing import export_, open_
from eyeline.cli.training import train
from eyeline.learn.drill.cli import drill
from eyeline.learn.practice.cli import practice

__all__ = ["app", "main"]

app = typer.Typer(
    help="See what every token looks at, with the exact numbers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(help="Models that eyeline knows by name.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(practice, name="practice")
app.add_typer(drill, name="drill")

for command in (look, steps, heads, compare, check, train):
    app.command()(command)
app.command("open")(open_)
app.command("export")(export_)
models_app.command("list")(models_list)
models_app.command("get")(models_get)


def main() -> None:
    """Run the command line; what is the user's business is one line on stderr and exit code 2."""
    from eyeline._errors import EyelineError

    if hasattr(signal, "SIGPIPE"):  # `eyeline … | head` must not end in a traceback
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        app()
    except EyelineError as error:
        typer.echo(f"eyeline: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("eyeline: interrupted", err=True)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"eyeline: {error.strerror}: make room, then do it again", err=True)
        sys.exit(2)
