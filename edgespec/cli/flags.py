"""What the settings that messages name are called on the command line."""

from typing import Final

from edgespec.errors import name_settings

FLAGS: Final = {
    "acceptance": "--acceptance",
    "batch": "--batch",
    "blocks": "--remove",
    "budget": "--budget",
    "calibrate": "--calibrate",
    "calibration_tokens": "--calibration-tokens",
    "category": "--category",
    "criterion": "--criterion",
    "ctx_size": "--ctx-size",
    "distill": "--distill",
    "draft": "--draft",
    "draft_gpu_layers": "--draft-gpu-layers",
    "drop_attention": "--drop-attention",
    "embedding_type": "--embedding-type",
    "fixed": "--fixed",
    "flash_attn": "--flash-attn",
    "force": "--force",
    "frequency_penalty": "--frequency-penalty",
    "gpu_layers": "--gpu-layers",
    "host": "--host",
    "imatrix": "--imatrix",
    "importance": "--importance",
    "keep_alive": "--keep-alive",
    "kv_groups": "--kv-groups",
    "kv_type": "--kv-type",
    "kv_type_k": "--kv-type-k",
    "kv_type_v": "--kv-type-v",
    "limit": "--limit",
    "max_tokens": "--max-tokens",
    "method": "--method",
    "min_p": "--min-p",
    "n_blocks": "--blocks",
    "narrow": "--narrow",
    "offline": "--offline",
    "output": "-o",
    "output_type": "--output-type",
    "params": "--params",
    "port": "--port",
    "presence_penalty": "--presence-penalty",
    "prompt": "-p",
    "prompts": "--prompts",
    "protect_first": "--protect-first",
    "protect_last": "--protect-last",
    "ratio": "--ratio",
    "raw": "--raw",
    "repeat": "--repeat",
    "repeat_penalty": "--repeat-penalty",
    "rpc": "--rpc",
    "seed": "--seed",
    "shape": "--shape",
    "structure": "--structure",
    "temperature": "--temperature",
    "tensor": "--tensor",
    "tensor_split": "--tensor-split",
    "think_budget": "--think-budget",
    "threads": "--threads",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "type": "--type",
    "warmup": "--warmup",
}
"""Every setting that a message names in backquotes, by the name of its field; a test holds it against the commands."""


def with_flags(text: str) -> str:
    """A message with the flags of the settings that it names."""
    return name_settings(text, FLAGS.get)
