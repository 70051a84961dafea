"""Where the command starts: nothing is imported before Ctrl-C is taken care of."""

import sys


def main() -> None:
    """Run the command line; an interrupt, even during imports, ends it with 130 and one line."""
    try:
        from eyeline.cli import main as run

        run()
    except KeyboardInterrupt:
        print("eyeline: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
