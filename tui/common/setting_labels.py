"""What the settings that messages name are called in the app: by the labels of its forms."""

from typing import Final

from edgespec.errors import name_settings

LABELS: Final = {
    "acceptance": "acceptance",
    "api_key": "--api-key",
    "batch": "batch size",
    "blocks": "Remove (by number)",
    "budget": "time budget",
    "calibrate": "Importance",
    "calibration_tokens": "Tokens",
    "category": "Categories",
    "criterion": "Chosen by",
    "ctx_size": "Context",
    "distill": "distilling",
    "draft": "Draft",
    "draft_gpu_layers": "the draft's GPU layers",
    "drop_attention": "dropped attention",
    "embedding_type": "type of the embeddings",
    "fixed": "Fixed lengths",
    "flash_attn": "flash attention",
    "force": "your consent",
    "frequency_penalty": "frequency penalty",
    "gpu_layers": "GPU layers",
    "host": "--host",
    "imatrix": "an imatrix",
    "importance": "Score",
    "keep_alive": "--keep-alive",
    "kv_groups": "number of KV groups",
    "kv_type": "type of the KV cache",
    "kv_type_k": "KV cache keys",
    "kv_type_v": "KV cache values",
    "limit": "Per category",
    "max_tokens": "Longest answer",
    "method": "Method",
    "min_p": "min-p",
    "n_blocks": "Remove (blocks)",
    "narrow": "narrowing",
    "offline": "the offline mode",
    "output": "Write to",
    "output_type": "type of the output",
    "parallel": "--parallel",
    "params": "Remove (params left)",
    "port": "--port",
    "presence_penalty": "presence penalty",
    "prompt": "the prompt",
    "prompts": "Prompts",
    "protect_first": "Protect (first blocks)",
    "protect_last": "Protect (last blocks)",
    "ratio": "Remove (of weights)",
    "raw": "raw prompts",
    "repeat": "Repeats",
    "repeat_penalty": "repeat penalty",
    "rpc": "list of RPC servers",
    "seed": "seed",
    "server": "--server",
    "shape": "shape",
    "structure": "Widths",
    "temperature": "temperature",
    "tensor": "type of a tensor",
    "tensor_split": "tensor split",
    "think_budget": "budget of thought",
    "threads": "Threads",
    "top_k": "top-k",
    "top_p": "top-p",
    "type": "Types",
    "warmup": "warm-up",
}
"""Setting -> the label of its field, with the choice or the hint beside it in parentheses where a field is for several.

Capitals are the app's own labels, or a key's as with `draft`. What has no field is a plain phrase. `host` and `port`, which are
named only within a command to type, and `parallel` and `keep_alive`, of the server alone, are that command's flags; `server` and
`api_key` are those that the app was started with.
"""


def with_labels(text: str) -> str:
    """A message with the labels of the settings that it names."""
    return name_settings(text, LABELS.get)
