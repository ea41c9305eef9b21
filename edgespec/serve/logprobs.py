"""Log probabilities as OpenAI's chats and its older completions have them."""

from collections.abc import Sequence

from edgespec.session.shared.asked import TokenLogprob

_LOWEST = -9999.0
"""In place of minus infinity, which JSON cannot say; as of OpenAI."""


def chat_logprobs(logprobs: Sequence[TokenLogprob]) -> list[dict[str, object]]:
    """An entry for each token, the likeliest ones in it."""
    return [{**_entry(one), "top_logprobs": [_entry(other) for other in one.top]} for one in logprobs]


def _entry(one: TokenLogprob) -> dict[str, object]:
    return {"id": one.token, "token": one.text, "bytes": list(one.data), "logprob": _finite(one.logprob)}


def text_logprobs(logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, object]:
    """Lists side by side.

    Args:
        logprobs: Of each token.
        offset: Characters of the answer before the first.
    """
    offsets = []
    for one in logprobs:
        offsets.append(offset)
        offset += len(one.text)
    return {
        "tokens": [one.text for one in logprobs],
        "token_logprobs": [_finite(one.logprob) for one in logprobs],
        "top_logprobs": [{other.text: _finite(other.logprob) for other in one.top} for one in logprobs],
        "text_offset": offsets,
    }


def _finite(logprob: float) -> float:
    return max(logprob, _LOWEST)
