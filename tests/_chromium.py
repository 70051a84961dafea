"""Debian's Chromium, alone with this machine."""

import shutil
import time
from collections.abc import Callable

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-device-scale-factor=1",
    "--font-render-hinting=none",
    # nothing but loopback has an address: the network is off
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


def executable() -> str | None:
    """Where Chromium is, if it is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def until(holds: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until it holds. (The page's policy forbids the eval that Playwright's own wait uses.)"""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.03)
