"""What many saved conversations cost: the time of a search as each letter is typed, and what they add to the app's start.

    python -m scripts.conversation_search --conversations 10000

The conversations have four messages each, of words that are as rare or common as in English (Zipf). Every beginning of every
word is searched as the app's list does it, with excerpts. The start is that of `scripts/soak.py`. The exit code is 1 where a
search takes longer than 100 ms, or where the start takes 100 ms longer than with one conversation.
"""

import argparse
import asyncio
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from edgespec.paths import chats_dir
from scripts.soak import start_s
from tui.chat.conversation import Conversation, Message
from tui.chat.store import ChatStore, write_conversation

LIMIT_SEARCH_S: Final = 0.1
LIMIT_START_S: Final = 0.1
_WORDS_A_MESSAGE: Final = 80
_VOCABULARY: Final = 20_000
_SYLLABLES: Final = (
    "ba",
    "der",
    "fi",
    "gon",
    "hu",
    "kel",
    "lo",
    "mi",
    "nas",
    "pu",
    "ri",
    "sto",
    "te",
    "vor",
    "wen",
)


def words_of_text(rng: random.Random) -> Iterator[str]:
    """Words without end, the most common one first in rank, each as often as its rank says."""
    ranks = range(1, _VOCABULARY + 1)
    weights = [1 / rank for rank in ranks]
    names = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in ranks]
    while True:
        yield from rng.choices(names, weights, k=10_000)


def fill(store: ChatStore, count: int, seed: int = 1) -> None:
    """Saves so many conversations in one transaction, a minute apart."""
    rng, began = random.Random(seed), datetime(2026, 1, 1, tzinfo=UTC)
    words = words_of_text(rng)

    def some() -> str:
        return " ".join(next(words) for _ in range(_WORDS_A_MESSAGE))

    def conversation(number: int) -> Conversation:
        begun = Conversation.begin(now=began + timedelta(minutes=number))
        for role in ("user", "assistant") * 2:
            begun = begun.add(Message(role, some()))
        return begun

    store.database.write(
        lambda connection: [write_conversation(connection, conversation(n), "") for n in range(count)]
    )


def time_searches(store: ChatStore, n_words: int = 20, seed: int = 2) -> list[tuple[float, str]]:
    """Seconds of a search for each beginning of each of some words of the conversations, common and rare, and pairs of them."""
    rng = random.Random(seed)
    messages = store.load(rng.choice(store.summaries()).id).messages
    words = [word for message in messages for word in message.content.split()]
    chosen = [
        *rng.sample(words, n_words),
        "nothinglikethat",
        *(f"{a} {b}" for a, b in itertools.pairwise(words[:n_words])),
    ]
    found = []
    for word in chosen:
        for length in range(1, len(word) + 1):
            began = time.perf_counter()
            store.search(word[:length])
            found.append((time.perf_counter() - began, word[:length]))
    return sorted(found)


def measure(count: int, n_starts: int) -> int:
    """Prints both figures; 1 where a limit is passed."""
    starts = []
    for n_saved in (1, count):
        with tempfile.TemporaryDirectory(prefix="edgespec-search-") as home:
            os.environ |= {"EDGESPEC_HOME": home, "HF_HOME": home, "HOME": home, "TEXTUAL_ANIMATIONS": "none"}
            store = ChatStore(chats_dir())
            fill(store, n_saved)
            asyncio.run(start_s(1))  # what is imported once
            starts.append(asyncio.run(start_s(n_starts)))
            if n_saved == count:
                searches = time_searches(store)
                began = time.perf_counter()
                store.summaries(500)
                listed_s = time.perf_counter() - began
                size = Path(store.database.file).stat().st_size
    slowest_s, text = searches[-1]
    median_s = statistics.median(seconds for seconds, _ in searches)
    added_s = starts[1] - starts[0]
    print(f"{count} conversations, {size / 1e6:.0f} MB; the list of the newest in {1000 * listed_s:.1f} ms")
    print(
        f"search  {1000 * median_s:.1f} ms (median of {len(searches)}), {1000 * slowest_s:.1f} ms at most ({text!r})"
    )
    print(
        f"start   {starts[0]:.2f} s with one conversation, {starts[1]:.2f} s with {count}: {added_s:+.2f} s"
    )
    return 0 if slowest_s < LIMIT_SEARCH_S and added_s < LIMIT_START_S else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.conversation_search")
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--starts", type=int, default=9)
    options = parser.parse_args(argv)
    return measure(options.conversations, options.starts)


if __name__ == "__main__":
    sys.exit(main())
