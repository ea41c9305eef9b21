"""What llama.cpp's refusals of a context or a batch mean, and the way out."""

from edgespec.errors import (
    ContextOverflowError,
    EdgespecError,
    EngineError,
    NotEnoughMemoryError,
    UsageError,
)
from edgespec.llama.context_settings import ContextSettings
from edgespec.llama.library import take_native_errors


def creation_error(name: str, settings: ContextSettings, reason: str) -> EdgespecError:
    """The error of a context that cannot be made.

    Args:
        name: Of the model's file.
        settings: What was asked for.
        reason: llama.cpp's words (`take_native_errors`); without any, memory is what lacks most often.
    """
    said = reason or "no reason given"
    if not reason or "alloc" in reason:
        return NotEnoughMemoryError(
            f"no context of {settings.n_ctx} tokens for {name}: {said}",
            "use a smaller `ctx_size`, or a smaller KV type such as `kv_type` q8_0",
        )
    if "cache" in reason:
        keys, values = settings.type_k.name.lower(), settings.type_v.name.lower()
        is_one = keys == values
        kinds = f"`kv_type` {keys}" if is_one else f"`kv_type_k` {keys} `kv_type_v` {values}"
        return UsageError(
            f"{name} cannot run with {kinds} `flash_attn` {settings.flash_attention}: {said}",
            "use `kv_type` f16" if is_one else "use f16 for `kv_type_k` and `kv_type_v`",
        )
    return EngineError(f"llama.cpp makes no context for {name}: {said}")


def overflow_error(n_tokens: int, n_ctx: int) -> ContextOverflowError:
    """The error of a conversation that is longer than its context, before llama.cpp is asked."""
    return ContextOverflowError(
        f"{n_tokens} tokens do not fit a context of {n_ctx}", "use a larger `ctx_size` or a shorter prompt"
    )


def decode_error(code: int, rows: int, n_ctx: int) -> EngineError | ContextOverflowError:
    """The error of a failed `llama_decode`.

    Args:
        code: What it returned (llama.h): 1 where no place for the rows was found, 2 where it was aborted.
        rows: Of the batch.
        n_ctx: Tokens of the context.
    """
    words = take_native_errors()
    if code == 1:
        return ContextOverflowError(
            f"no room for {rows} more tokens in a context of {n_ctx}", "use a larger `ctx_size`"
        )
    if code == 2:
        return EngineError("the evaluation was stopped")
    return EngineError(f"llama_decode failed with code {code} on {rows} rows: {words or 'no reason given'}")
