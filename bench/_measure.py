"""Timing and memory, side by side: machines are shared and noisy, so only ratios mean anything."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def interleaved(
    cases: dict[str, Callable[[], object]], rounds: int = 9, at_least: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each case, the cases taking turns; one round before is not counted.

    Args:
        cases: What to run.
        rounds: How often.
        at_least: Seconds that a turn lasts: short cases run several times in it.
    """
    repeats = {}
    for name, run in cases.items():
        run()
        start = time.perf_counter()
        run()
        repeats[name] = max(int(at_least / (time.perf_counter() - start)), 1)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return times


def compare(times: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """Median and best of each case, and both as ratios to `base`."""
    medians = {name: statistics.median(t) for name, t in times.items()}
    return {
        name: {
            "median_s": medians[name],
            "best_s": min(t),
            "ratio_median": medians[name] / medians[base],
            "ratio_best": min(t) / min(times[base]),
        }
        for name, t in times.items()
    }


def peak_gflops(size: int = 2048, rounds: int = 7) -> float:
    """The fastest matrix product that torch manages here, GF/s in float32: "the machine"."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = min(interleaved({"mm": lambda: a @ b}, rounds)["mm"])
    return 2 * size**3 / best / 1e9


def extra_memory(module: str, case: str, rounds: int = 3) -> int:
    """Bytes of peak memory that one run of a case adds: median of processes of their own.

    There glibc gives large blocks back at once. By default it keeps some of them, which ones
    depends on the order of their sizes, and a peak may then be of what was freed long ago.
    """
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    found = []
    for _ in range(rounds):
        command = [sys.executable, "-m", module, "--memory", case]
        out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found.append(int(out.stdout.split()[-1]))
    return int(statistics.median(found))


def peak_growth(run: Callable[[], object]) -> int:
    """Growth of the process's peak resident memory while `run` runs, in bytes (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the recorded peak
    before = _status("VmRSS")
    kept = run()
    growth = _status("VmHWM") - before
    del kept
    return growth


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def write_json(name: str, data: dict) -> Path:
    """Write a result with what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    about = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": _processor(),
    }
    path.write_text(json.dumps(about | data, indent=2) + "\n")
    return path


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
