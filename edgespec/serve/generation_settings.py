"""How an answer is written, under llama-server's names (`task_params::to_json` in tools/server/server-task.cpp)."""

from dataclasses import asdict
from types import MappingProxyType
from typing import Final

from edgespec.chat.structure import StructureKind
from edgespec.llama.sampler import Sampling
from edgespec.llama.sampling_wish import NO_WISH, settle_sampling
from edgespec.session.shared.asked import Ask

_SWITCHED_OFF: Final = MappingProxyType(
    {
        "dynatemp_range": 0.0,
        "dynatemp_exponent": 1.0,
        "top_n_sigma": -1.0,
        "xtc_probability": 0.0,
        "xtc_threshold": 0.1,
        "typical_p": 1.0,
        "dry_multiplier": 0.0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": 0,
        "mirostat": 0,
        "mirostat_tau": 5.0,
        "mirostat_eta": 0.1,
        "n_keep": 0,
        "n_discard": 0,
        "min_keep": 0,
        "post_sampling_probs": False,
        "backend_sampling": False,
        "lora": [],
    }
)
"""What there is not here, with the values that switch it off there: clients read these names."""
_SAMPLERS: Final = ("penalties", "top_k", "top_p", "min_p", "temperature")
_USUAL: Final = Ask(id=0, prompt="", sampling=NO_WISH)


def settings_of(
    own: Sampling, ask: Ask = _USUAL, *, streams: bool = False, drafts: bool = True
) -> dict[str, object]:
    """Of an answer, or those that one has where nobody says.

    Args:
        own: How the model's tokens are picked where nobody says.
        ask: What was asked.
        streams: Whether it is told as it is written.
        drafts: Whether something may draft for it.
    """
    limit = -1 if ask.max_tokens is None else ask.max_tokens
    structure = ask.structure
    grammar = structure.text if structure and structure.kind is StructureKind.GBNF else ""
    return {
        **asdict(settle_sampling(ask.sampling, own)),
        **_SWITCHED_OFF,
        "n_predict": limit,
        "max_tokens": limit,
        "stop": list(ask.stops),
        "n_probs": ask.logprobs_n or 0,
        "ignore_eos": ask.ignore_end,
        "grammar": grammar,
        "stream": streams,
        "timings_per_token": False,
        "samplers": list(_SAMPLERS),
        "speculative.types": "auto" if drafts else "none",
    }
