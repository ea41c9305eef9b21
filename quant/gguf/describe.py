"""What a model's file holds and how it was made, from its header alone."""

from collections import Counter
from typing import Any, Final

from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.text import human_bytes
from quant.gguf.recipe import read_recipe

_SCHEMA: Final = "edgespec.show/1"
_ORIGINS: Final = (
    "general.source.url",
    "general.source.huggingface.repository",
    "general.repo_url",
    "general.url",
    "general.base_model.0.repo_url",
)


def describe_file(file: ModelFile) -> dict[str, Any]:
    """Shape, types, size and recipe of a model, of what JSON can say (schema `edgespec.show/1`)."""
    meta = file.meta
    in_blocks = sum(tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk."))
    return {
        "schema": _SCHEMA,
        "name": file.name,
        "path": str(file.path),
        "parts": len(meta.parts) or 1,
        "size_bytes": meta.file_bytes,
        "architecture": meta.architecture,
        "quantization": meta.quantization,
        "bpw": meta.bpw,
        "n_params": meta.parameter_count,
        "n_params_in_blocks": in_blocks,
        "n_blocks": meta.block_count,
        "n_embd": meta.embedding_length,
        "n_head": meta.head_count,
        "n_head_kv": meta.head_count_kv,
        "head_dim": meta.key_length,
        "n_ff": _feed_forward(meta),
        "n_ctx_train": meta.context_length,
        "n_vocab": meta.vocab_size,
        "tokenizer": meta.tokenizer_model,
        "types": _types(meta),
        "license": meta.fields.get("general.license"),
        "origin": next((meta.fields[key] for key in _ORIGINS if key in meta.fields), None),
        "recipe": read_recipe(meta),
    }


def _feed_forward(meta: GgufMetadata) -> Any:
    return meta.fields.get(f"{meta.architecture}.feed_forward_length")


def _types(meta: GgufMetadata) -> dict[str, dict[str, int]]:
    tensors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in meta.tensors:
        tensors[tensor.ggml_type] += 1
        sizes[tensor.ggml_type] += tensor.n_bytes
    return {name: {"tensors": tensors[name], "bytes": size} for name, size in sizes.most_common()}


def description_lines(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What `describe_file` found, as names and texts for people."""
    types = ", ".join(
        f"{name} {entry['tensors']} tensors {human_bytes(entry['bytes'])}"
        for name, entry in document["types"].items()
    )
    heads = f"{_range(document['n_head'])} heads, {_range(document['n_head_kv'])} KV heads of {document['head_dim']}"
    lines = [
        ("model", f"{document['name']}, {document['architecture']} {document['quantization']}"),
        ("file", f"{document['path']}, {human_bytes(document['size_bytes'])}, {document['bpw']:.2f} bpw"),
        ("parameters", f"{document['n_params']:,}, {document['n_params_in_blocks']:,} of them in the blocks"),
        ("blocks", f"{document['n_blocks']}, width {document['n_embd']}, FFN {_range(document['n_ff'])}"),
        ("attention", heads),
        ("context", f"{document['n_ctx_train']} tokens trained"),
        ("vocabulary", f"{document['n_vocab']} tokens, {document['tokenizer']}"),
        ("types", types),
        ("licence", str(document["license"] or "not said")),
        ("origin", str(document["origin"] or "not said")),
    ]
    recipe = document["recipe"]
    if recipe is None:
        return lines
    lines.append(("made from", f"{recipe['source']['name']} by edgespec {recipe['edgespec']}"))
    return [*lines, *((f"step {number}", _step(step)) for number, step in enumerate(recipe["steps"], 1))]


def _range(value: Any) -> str:
    """One number, or the smallest and the largest of those that differ by block."""
    if not isinstance(value, list):
        return str(value)
    return str(value[0]) if len(set(value)) == 1 else f"{min(value)} to {max(value)}"


def _step(step: dict[str, Any]) -> str:
    options = ", ".join(f"{key} {_value(value)}" for key, value in step.items() if key != "step")
    return f"{step.get('step', 'unknown')}: {options}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
