"""Answers that come side by side: a machine whose speed changes from second to second changes it for all of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

LEAD_TOKENS = 4
"""How far an answer runs ahead of the others before their turn comes: 0.1 to 0.5 s of a model of some billion weights."""


Item = TypeVar("Item")


def run_abreast(
    streams: Sequence[Iterator[Item]],
    finished: Callable[[int], None] = lambda _place: None,
    lead: int = LEAD_TOKENS,
) -> list[list[Item]]:
    """What each stream yields, all brought to their ends together.

    The one that is furthest behind goes on, until it leads by `lead` items or ends; of several, the first.

    Args:
        streams: At most one of them runs at any time.
        finished: Told the place of each stream that has ended.
        lead: Items, at least 1.
    """
    items: list[list[Item]] = [[] for _ in streams]
    running = list(range(len(streams)))
    while running:
        place = min(running, key=lambda at: len(items[at]))
        others = [len(items[at]) for at in running if at != place]
        goal = min(others) + lead if others else None
        for item in streams[place]:
            items[place].append(item)
            if len(items[place]) == goal:
                break
        else:
            running.remove(place)
            finished(place)
    return items
