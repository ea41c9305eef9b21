"""A day of use: turns of chat in the app with a real engine, and what memory, file handles and threads do meanwhile.

    python -m scripts.soak --minutes 10 --turns 1750

The app runs without a terminal, its engine as always in a process of its own, on a tiny model; a new conversation begins
every ten turns. After a warm-up a line is laid through the memory of both processes (least squares): 1,000 turns may add 1 MiB.
Then the start with 1,000 saved conversations is timed against one with a single one. The exit code is 1 where a limit is passed.
"""

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from scripts.growth import Growth, Sample, growth_of, take_sample

LIMIT_START_S: Final = 0.1
"""That 1,000 conversations may add to the start."""
_TURNS_A_CHAT: Final = 10
_SAMPLE_TURNS: Final = 25
_WARM_UP: Final = 0.4
"""Share of the turns before the line begins: caches fill, and the allocator finds its size. The last to be full is Rich's
table of how wide texts are (`rich.cells.cached_cell_len`): 4,096 texts, six new ones a turn."""
_ANSWER_TOKENS: Final = 24
_WAIT_S: Final = 120.0
_MORE_THAN_THE_POOL: Final = 64
"""`ThreadPoolExecutor` has 32 threads at most."""
_QUESTIONS: Final = (
    "the heron stood in the reeds",
    "a list:\n\n- one\n- two",
    "what is **this**?",
    "`x = 1` and then",
)


async def chat(
    model: Path, n_turns: int, deadline: float, told: Callable[[str], None] = print
) -> list[Growth]:
    """So many turns, or as many as there is time for; what became of the app and of its engine.

    Raises:
        TimeoutError: an answer did not come.
    """
    from edgespec.session.settings import EngineSettings
    from tui.app import EdgespecApp
    from tui.services.launch import Launch

    launch = Launch(
        str(model),
        "none",
        max_tokens=_ANSWER_TOKENS,
        engine=EngineSettings(n_ctx=4096, n_threads=1),
        offline=True,
    )
    app = EdgespecApp(launch)
    samples: dict[str, list[Sample]] = {"app": [], "engine": []}
    async with app.run_test(size=(120, 40)) as pilot:
        await _until(lambda: app.engine.is_ready)
        await _start_threads()
        engine = psutil.Process().children()[-1].pid
        for turn in range(1, n_turns + 1):
            await _ask(pilot, _QUESTIONS[turn % len(_QUESTIONS)])
            if turn % _TURNS_A_CHAT == 0:
                await _begin_another(pilot)
            if turn % _SAMPLE_TURNS == 0:
                gc.collect()
                samples["app"].append(take_sample(os.getpid(), turn))
                samples["engine"].append(take_sample(engine, turn))
                told(f"turn {turn}: {samples['app'][-1]} {samples['engine'][-1]}")
                if time.monotonic() > deadline:
                    break
    return [growth_of(name, kept, _WARM_UP) for name, kept in samples.items()]


async def _start_threads() -> None:
    """All threads of asyncio's pool, which starts another one whenever it has none idle: later ones are of somebody else."""
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.1) for _ in range(_MORE_THAN_THE_POOL)))


async def _ask(pilot: Any, text: str) -> None:
    chat = pilot.app.screen
    n_before = len(chat.transcript.conversation.messages)
    chat.prompt.load_text(text)
    pilot.app.simulate_key("enter")
    await _until(
        lambda: len(chat.transcript.conversation.messages) == n_before + 2 and pilot.app.engine.is_ready,
    )


async def _begin_another(pilot: Any) -> None:
    chat = pilot.app.screen
    chat.action_new()
    await _until(lambda: not chat.query(".turn"))


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not is_so():
            # Not the pilot's pause, which gives up after 30 s: a machine may do something else meanwhile.
            await asyncio.sleep(0.01)


async def start_s(n_starts: int) -> float:
    """Seconds until the app's first screen is there and knows what was asked before: the median."""
    from tui.app import EdgespecApp
    from tui.services.launch import Launch

    times = []
    for _ in range(n_starts):
        gc.collect()
        began = time.monotonic()
        # Without an engine: what is measured is what the app does itself.
        async with EdgespecApp(Launch(screen="models", resume_last=True, offline=True)).run_test() as pilot:
            pilot.app.action_go("chat")  # type: ignore[attr-defined]
            await pilot.pause()
            times.append(time.monotonic() - began)
    return statistics.median(times)


def save_conversations(count: int) -> None:
    """Saves conversations of ten turns in the home of this process."""
    from edgespec.paths import chats_dir
    from tui.chat.conversation import Conversation, Message
    from tui.chat.store import ChatStore

    store, began = ChatStore(chats_dir()), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        conversation = Conversation.begin(now=began + timedelta(minutes=number))
        for turn in range(_TURNS_A_CHAT):
            conversation = conversation.add(Message("user", f"question {turn} of {number}"))
            conversation = conversation.add(Message("assistant", "It is so. " * 40))
        store.save(conversation)


def time_starts(n_saved: int = 1000, n_starts: int = 9) -> tuple[float, float]:
    """Seconds of a start with one conversation, which it shows, and of one with so many."""
    found = []
    for count in (1, n_saved):
        with tempfile.TemporaryDirectory(prefix="edgespec-soak-") as home:
            os.environ["EDGESPEC_HOME"] = home
            save_conversations(count)
            asyncio.run(start_s(1))  # what is imported once
            found.append(asyncio.run(start_s(n_starts)))
    return found[0], found[1]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    from tests.tiny import CHAT_TEMPLATE, TinyShape, make_tiny_model

    parser = argparse.ArgumentParser(prog="python -m scripts.soak")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the chat takes, at most")
    parser.add_argument("--turns", type=int, default=1750, help="how many turns, at most")
    options = parser.parse_args(argv)
    deadline = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="edgespec-soak-") as home:
        os.environ |= {"EDGESPEC_HOME": home, "HF_HOME": home, "HOME": home, "TEXTUAL_ANIMATIONS": "none"}
        model = make_tiny_model(
            Path(home) / "tiny.gguf", chat_template=CHAT_TEMPLATE, shape=TinyShape(context=4096)
        )
        growths = asyncio.run(chat(model, options.turns, deadline))
        one_s, many_s = time_starts()
    added_s = many_s - one_s
    print(f"{growths[0].last.done_n} turns")
    for growth in growths:
        print(growth)
    print(f"start   {one_s:.2f} s with one conversation, {many_s:.2f} s with 1,000: {added_s:+.2f} s")
    return 0 if all(one.is_within for one in growths) and added_s < LIMIT_START_S else 1


if __name__ == "__main__":
    sys.exit(main())
