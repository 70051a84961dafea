"""How long a learner waits: `practice run` of every exercise, and how soon `watch` reacts.

Run as `python -m bench.practice`. Whole commands in processes of their own, from the start of
Python to the last line: right solutions (with their reward in a model) and wrong ones; then saves
of a file while `watch` runs. Goals: 3 s and 1 s. Needs: eyeline models get minilm.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench._measure import write_json
from eyeline.learn.master import Master, masters
from eyeline.learn.practice.workspace import Workspace

RUN_GOAL, WATCH_GOAL, ROUNDS, PAUSE = 3.0, 1.0, 7, 3.0

WRONG = """

_right = globals()["{name}"]  # by name it would be a shortcut: `softmax` is to be written


def _twice(value):
    if isinstance(value, dict):
        return {{key: _twice(one) for key, one in value.items()}}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_twice, value))
    return value * 2 if isinstance(value, (int, float, torch.Tensor)) else value


def {name}(*args, **kwargs):
    return _twice(_right(*args, **kwargs))
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "practice")
        workspace.prepare()
        right = {
            one.label: seconds_of_run(workspace, one, one.solution(), "PASS") for one in masters()
        }
        wrong = {
            one.label: seconds_of_run(workspace, one, spoiled(one), "Not yet: ")
            for one in masters()
        }
        reactions = seconds_of_watch(workspace)
    for name, seconds in (("right", right), ("wrong", wrong)):
        slowest = max(seconds, key=lambda one: seconds[one])
        print(
            f"practice run, {name}: median {statistics.median(seconds.values()):.2f} s, "
            f"slowest {seconds[slowest]:.2f} s ({slowest}); goal {RUN_GOAL:.0f} s"
        )
    print(
        f"watch: median {statistics.median(reactions):.2f} s, slowest {max(reactions):.2f} s "
        f"of {len(reactions)} saves; goal {WATCH_GOAL:.0f} s"
    )
    write_json("practice", {"right_s": right, "wrong_s": wrong, "watch_s": reactions})


def spoiled(master: Master) -> str:
    """The solution, and then twice what it gives: wrong, and no mistake that has a name."""
    name = master.exercise.function
    return master.solution() + WRONG.format(name=name)


def seconds_of_run(workspace: Workspace, master: Master, source: str, verdict: str) -> float:
    """One command, which must come to this verdict."""
    workspace.file(master).write_text(source, encoding="utf-8")
    began = time.perf_counter()
    done = subprocess.run(
        command(workspace, "run", str(master.number)), capture_output=True, text=True
    )
    taken = time.perf_counter() - began
    if verdict not in done.stdout or done.returncode != (verdict != "PASS"):
        raise RuntimeError(f"{master.label}: {verdict!r} was expected, got {done.stdout!r}")
    return taken


def seconds_of_watch(workspace: Workspace) -> list[float]:
    """From a save to the verdict on the screen; between saves a learner thinks."""
    chosen = [one for one in masters() if one.number in (1, 6, 8, 14, 16, 20, 27)][:ROUNDS]
    for one in chosen:
        workspace.file(one).write_text(one.stub(), encoding="utf-8")
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    watching = subprocess.Popen(
        command(workspace, "watch"), stdout=subprocess.PIPE, text=True, env=environment
    )
    assert watching.stdout is not None
    try:
        wait_for(watching.stdout, "Watching")
        times = []
        for one in chosen:
            time.sleep(PAUSE)
            began = time.perf_counter()
            workspace.file(one).write_text(one.solution(), encoding="utf-8")
            wait_for(watching.stdout, "PASS")
            times.append(time.perf_counter() - began)
        return times
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(10)


def wait_for(lines: object, what: str) -> None:
    """Read until a line says it."""
    for line in lines:  # type: ignore[attr-defined]
        if what in line:
            return
    raise RuntimeError(f"practice ended before it said {what}")


def command(workspace: Workspace, *arguments: str) -> list[str]:
    """`eyeline practice …` in that folder."""
    return [
        *(sys.executable, "-m", "eyeline", "practice", *arguments),
        *("--folder", str(workspace.folder)),
    ]


if __name__ == "__main__":
    main()
