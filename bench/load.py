"""A server under load, on this machine alone.  python -m bench.load [--minutes 5].

The server runs in a process of its own with MiniLM; clients are coroutines of this one. All loops
are bounded in count and time. Needs: eyeline models get minilm.
"""

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench._measure import write_json

EVERY = 5.0
WORDS = (
    "the animal did not cross a street because it was tired and so they sat by old river".split()
)


@dataclass
class Client:
    """One browser: its port, its cookie."""

    port: int
    cookie: str

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes, float]:
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        data = b"" if body is None else json.dumps(body).encode()
        host = f"127.0.0.1:{self.port}"
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n"
            f"cookie: {self.cookie}\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + data)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        status = int(answer.split(b" ", 2)[1]) if answer else 0
        return status, answer, time.perf_counter() - start


@dataclass
class Told:
    """What clients saw."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    errors: int = 0

    def summary(self) -> dict[str, float]:
        return {
            "served": len(self.served),
            "refused": len(self.refused),
            "errors": self.errors,
            "served_p50_s": quantile(self.served, 0.5),
            "served_p95_s": quantile(self.served, 0.95),
            "refused_p95_s": quantile(self.refused, 0.95),
        }


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[int(share * (len(times) - 1))] if times else 0.0


def sentence(random_: random.Random) -> str:
    return " ".join(random_.choices(WORDS, k=random_.randint(8, 24)))


async def student(client: Client, told: Told, end: float, number: int) -> None:
    """One request every five seconds: a new sentence, or a look into the last one."""
    random_ = random.Random(number)
    await asyncio.sleep(random_.uniform(0, EVERY))
    while time.monotonic() < end:
        begin = time.monotonic()
        try:
            body = {"text": sentence(random_), "model": "minilm"}
            status, _, taken = await client.ask("POST", "/api/read", body)
        except (OSError, asyncio.IncompleteReadError, IndexError, ValueError):
            status, taken = 0, 0.0
        if status == 200:
            told.served.append(taken)
        elif status == 503:
            told.refused.append(taken)
        else:
            told.errors += 1
        await asyncio.sleep(max(EVERY - (time.monotonic() - begin), 0))


async def crowd(client: Client, count: int, seconds: float) -> Told:
    told, end = Told(), time.monotonic() + seconds
    await asyncio.gather(*(student(client, told, end, n) for n in range(count)))
    return told


def beside_half_open(client: Client, sockets: int, seconds: float) -> dict[str, float]:
    """A normal user's p95, alone and beside sockets that never finish their header, in seconds.

    The user opens the start page's data, which costs nothing but the way there, and has a sentence
    read, which is what a user comes for. The sockets are another process's: what they cost there is
    not the user's.
    """
    alone = asyncio.run(user(client, seconds, seed=-1))
    others = multiprocessing.get_context("spawn").Process(
        target=hold_open, args=(client.port, sockets, seconds + 4), daemon=True
    )
    others.start()
    time.sleep(3)
    beside = asyncio.run(user(client, seconds, seed=-2))
    others.join(20)
    told = {}
    for name in alone:
        told[f"{name}_alone_s"] = quantile(alone[name], 0.95)
        told[f"{name}_beside_s"] = quantile(beside[name], 0.95)
    return told


async def user(client: Client, seconds: float, seed: int) -> dict[str, list[float]]:
    """One request after the other, for so long; texts that nobody has read."""
    times: dict[str, list[float]] = {"start": [], "read": []}
    end, random_ = time.monotonic() + seconds, random.Random(seed)
    while time.monotonic() < end:
        times["start"].append((await client.ask("GET", "/api/start"))[2])
        body = {"text": sentence(random_), "model": "minilm"}
        times["read"].append((await client.ask("POST", "/api/read", body))[2])
        await asyncio.sleep(0.05)
    return times


def hold_open(port: int, sockets: int, seconds: float) -> None:
    """Sockets that send half a header; one that is closed is opened again."""
    end = time.monotonic() + seconds

    async def half_open() -> None:
        while time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.1\r\nhost: 127")
                await asyncio.wait_for(reader.read(), max(end - time.monotonic(), 0.1))
                writer.close()
            except (OSError, TimeoutError):
                await asyncio.sleep(0.2)

    async def every() -> None:
        await asyncio.gather(*(half_open() for _ in range(sockets)))

    asyncio.run(every())


@contextmanager
def serving() -> Iterator[tuple[Client, int]]:
    """`eyeline open` in a process of its own; a client, and the process's id."""
    command = [sys.executable, "-m", "eyeline", "open", "--no-browser"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        link = process.stdout.readline()
        found = re.search(r":(\d+)/\?token=(\S+)", link)
        assert found is not None, link
        client = Client(int(found[1]), "")
        _, answer, _ = asyncio.run(client.ask("GET", f"/?token={found[2]}"))
        cookie = re.search(rb"set-cookie: ([^;]+)", answer)
        assert cookie is not None
        client.cookie = cookie[1].decode()
        yield client, process.pid
    finally:
        process.terminate()
        process.wait(10)


def resident(pid: int) -> float:
    """Megabytes."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0, help="of 50 clients (at most 15)")
    minutes = min(parser.parse_args().minutes, 15.0)
    result: dict[str, object] = {"minutes": minutes}
    with serving() as (client, pid):
        asyncio.run(crowd(client, 50, 100))  # until as many readings are held as ever are
        before = resident(pid)
        fifty = asyncio.run(crowd(client, 50, 60 * minutes)).summary()
        fifty["memory_growth_percent"] = 100 * (resident(pid) / before - 1)
        fifty["resident_mb"] = resident(pid)
        report("50 clients, a request every 5 s", fifty)
        many = asyncio.run(crowd(client, 250, min(60, 60 * minutes))).summary()
        report("250 clients, a request every 5 s", many)
        half_open = beside_half_open(client, 300, 10)
        report("a user's p95 beside 300 half-open sockets", half_open)
        result |= {"50": fifty, "250": many, "half_open": half_open}
    write_json("load", result)


def report(name: str, summary: dict[str, float]) -> None:
    print(name + ": " + ", ".join(f"{key} {value:.4g}" for key, value in summary.items()))


if __name__ == "__main__":
    main()
