"""Where the command starts: nothing is imported before Ctrl-C is taken care of."""

import atexit
import os
import sys


def main() -> None:
    """Run the command line; an interrupt, even during imports, ends it with 130 and one line."""
    status = [1]  # what a traceback ends with
    atexit.register(_leave, status)  # the first to be registered is the last to be called
    try:
        from eyeline.cli import main as run

        run()
        status[0] = 0
    except SystemExit as end:
        status[0] = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    except KeyboardInterrupt:
        print("eyeline: interrupted", file=sys.stderr)
        status[0] = 130
        sys.exit(130)


def _leave(status: list[int]) -> None:
    """End here: to take torch apart first, piece by piece, takes Python half a second."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status[0] = status[0] or 120  # as Python itself ends where its output cannot be written
    os._exit(status[0])


if __name__ == "__main__":
    main()
