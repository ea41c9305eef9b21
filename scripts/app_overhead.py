"""What the app costs an answer: tokens/s of `edgespec chat` in a terminal against headless `edgespec run`, in turns.

    python scripts/app_overhead.py qwen2.5-coder-1.5b --pairs 5

Both answer the same prompt greedily with the same target, the app in a pseudo-terminal of 120x40 that is read as a
terminal would read it. The figure is the median of the ratios of neighbours, with their range. POSIX only.
"""

import argparse
import fcntl
import json
import os
import pty
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable

from edgespec.paths import chats_dir
from tui.chat.store import ChatStore

PROMPT = "Explain in detail how a hash map works, with a complete implementation in Python."
PROGRAM = [sys.executable, "-m", "edgespec"]
LIMIT_S = 120.0


def run_headless(arguments: list[str]) -> float:
    """Tokens/s of `edgespec run`."""
    done = subprocess.run(
        [*PROGRAM, "run", *arguments, "-p", PROMPT, "--json"], capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout)["tok_per_s"])


def run_in_app(arguments: list[str], columns: int, rows: int) -> float:
    """Tokens/s on the receipt of the app's answer."""
    store = ChatStore(chats_dir())
    for old in store.summaries():
        store.delete(old.id)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(PROGRAM[0], [*PROGRAM, "chat", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = bytearray()
    threading.Thread(target=_drain, args=(terminal, screen), daemon=True).start()
    try:
        _wait(lambda: b"Ask something" in screen)
        os.write(terminal, PROMPT.encode() + b"\r")
        _wait(lambda: bool(_receipts(store)))
        found = re.search(r"([\d.]+) tok/s", _receipts(store)[0])
        assert found is not None
        return float(found[1])
    finally:
        os.write(terminal, b"\x11")
        time.sleep(2)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _drain(terminal: int, screen: bytearray) -> None:
    try:
        while True:
            screen += os.read(terminal, 1 << 16)
    except OSError:
        return


def _receipts(store: ChatStore) -> list[str]:
    newest = store.newest()
    return [one.receipt.text for one in newest.messages if one.receipt] if newest else []


def _wait(is_there: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not is_there():
        if time.monotonic() - began > LIMIT_S:
            raise TimeoutError("the app did not get there")
        time.sleep(0.2)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target")
    parser.add_argument("--draft", default="none")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--size", default="120x40")
    options = parser.parse_args()
    columns, rows = map(int, options.size.split("x"))
    arguments = [options.target, "--draft", options.draft, "-n", str(options.max_tokens)]
    with tempfile.TemporaryDirectory() as home:
        models = subprocess.run(
            [*PROGRAM, "models", "path", options.target], capture_output=True, text=True, check=True
        )
        arguments[0] = models.stdout.strip()
        os.environ["EDGESPEC_HOME"] = home
        ratios = []
        for pair in range(options.pairs):
            figures = {}
            for where in ("headless", "app") if pair % 2 else ("app", "headless"):
                figures[where] = (
                    run_headless(arguments) if where == "headless" else run_in_app(arguments, columns, rows)
                )
            ratios.append(figures["app"] / figures["headless"])
            print(
                f"headless {figures['headless']:.2f}, app {figures['app']:.1f} tok/s: {ratios[-1]:.3f}",
                flush=True,
            )
    print(
        f"the app gives {statistics.median(ratios):.3f} of the headless speed ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
