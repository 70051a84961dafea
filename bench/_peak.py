"""The machine at its best: what shares of the peak are shares of."""

import ctypes
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench._measure import interleaved, peak_gflops

ROUNDS = 2_000_000


@dataclass(frozen=True)
class Machine:
    """Measured limits of `torch.get_num_threads()` threads.

    Attributes:
        float32: Operations per second of fused multiply-adds that wait for nothing.
        tiles: The same in products of bfloat16 tiles (AMX), 0 where the CPU has none.
        matmul: Operations per second of torch's own float32 matrix product.
        bandwidth: Bytes per second when reading memory.
    """

    float32: float
    tiles: float
    matmul: float
    bandwidth: float

    @staticmethod
    def measured() -> "Machine":
        """Measure now, best of several; of reading the median: single turns were twice as fast."""
        threads = torch.get_num_threads()
        spin, spin_tiles = _compiled()
        numbers = torch.ones(2**26)  # 256 MB: far more than any cache
        runs = {
            "spin": lambda: spin(threads, ROUNDS),
            "tiles": lambda: spin_tiles(threads, ROUNDS // 10),
            "read": lambda: numbers.sum(),
        }
        times = interleaved(runs, rounds=9)
        best = {name: min(taken) for name, taken in times.items()}
        return Machine(
            spin(threads, ROUNDS) / best["spin"],
            spin_tiles(threads, ROUNDS // 10) / best["tiles"],
            1e9 * peak_gflops(),
            numbers.nbytes / statistics.median(times["read"]),
        )

    def flops(self, dtype: torch.dtype) -> float:
        """The peak of a dtype's products; bfloat16: that of tiles, or double with pairs."""
        if dtype == torch.bfloat16 and self.tiles:
            return self.tiles
        pairs = dtype == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported()
        return self.float32 * (2 if pairs else 1)

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        tiles = f"{self.tiles / 1e9:.0f} GF/s in bfloat16 tiles, " if self.tiles else ""
        return (
            f"peak {self.float32 / 1e9:.0f} GF/s float32 (torch.matmul {self.matmul / 1e9:.0f}), "
            f"{tiles}{self.bandwidth / 1e9:.1f} GB/s read"
        )


def _compiled() -> list[Callable[[int, int], float]]:
    source = Path(__file__).with_name("peak.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        command = ["c++", "-O3", "-march=native", "-fopenmp", "-ffp-contract=fast", "-shared"]
        subprocess.run([*command, "-fPIC", str(source), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    spins = [loaded.spin, loaded.spin_tiles]
    for spin in spins:
        spin.argtypes, spin.restype = [ctypes.c_int, ctypes.c_long], ctypes.c_double
    return spins
