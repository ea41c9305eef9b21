"""A conversation that has outgrown its context: how to go on without its oldest turns."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from edgespec.chat.messages import ChatMessage


def drop_oldest_turns(
    messages: Sequence[ChatMessage], count_tokens: Callable[[Sequence[ChatMessage]], int], most: int
) -> tuple[ChatMessage, ...]:
    """The conversation without as many of its oldest turns as it takes to be short enough.

    A turn is a question with what answered it. System prompts at the beginning stay, and so does the last question, even
    where it is too long alone.

    Args:
        messages: The oldest first.
        count_tokens: Tokens of a conversation, fewer for one that lacks turns.
        most: Tokens that it may have.
    """
    first = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    head, rest = tuple(messages[:first]), messages[first:]
    starts = [i for i, message in enumerate(rest) if message.role == "user" or i == 0]
    last = max(0, len(starts) - 1)
    n_dropped = bisect_left(
        range(last), True, key=lambda n: count_tokens((*head, *rest[starts[n] :])) <= most
    )
    return (*head, *rest[starts[n_dropped] :]) if starts else head
