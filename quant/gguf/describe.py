"""What a model's file holds and how it was made, from its header alone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from edgespec.catalog.metadata import GgufMetadata
from edgespec.catalog.model_file import ModelFile
from edgespec.text import human_bytes
from quant.gguf.recipe import Recipe, Step, read_recipe

_SCHEMA: Final = "edgespec.show/1"
_ORIGINS: Final = (
    "general.source.url",
    "general.source.huggingface.repository",
    "general.repo_url",
    "general.url",
    "general.base_model.0.repo_url",
)


@dataclass(frozen=True, slots=True)
class StoredType:
    """What is stored in one type."""

    tensors: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FileDescription:
    """Shape, types, size and recipe of a model. The names of the fields are those of the JSON document.

    Counts that may differ by block are lists where they do.
    """

    name: str
    path: str
    parts: int
    size_bytes: int
    architecture: str
    quantization: str
    bpw: float
    n_params: int
    n_params_in_blocks: int
    n_blocks: int | None
    n_embd: int | None
    n_head: int | list[int] | None
    n_head_kv: int | list[int] | None
    head_dim: int | None
    n_ff: object
    n_ctx_train: int | None
    n_vocab: int | None
    tokenizer: str | None
    types: Mapping[str, StoredType]
    """By the type's name, the largest share first."""
    license: object
    origin: object
    recipe: Recipe | None

    def as_document(self) -> dict[str, object]:
        """Of what JSON can say (schema `edgespec.show/1`)."""
        return {"schema": _SCHEMA, **asdict(self)}


def describe_file(file: ModelFile) -> FileDescription:
    """What the header of a model says."""
    meta = file.meta
    return FileDescription(
        name=file.name,
        path=str(file.path),
        parts=len(meta.parts) or 1,
        size_bytes=meta.file_bytes,
        architecture=meta.architecture,
        quantization=meta.quantization,
        bpw=meta.bpw,
        n_params=meta.parameter_count,
        n_params_in_blocks=sum(
            tensor.n_elements for tensor in meta.tensors if tensor.name.startswith("blk.")
        ),
        n_blocks=meta.block_count,
        n_embd=meta.embedding_length,
        n_head=meta.head_count,
        n_head_kv=meta.head_count_kv,
        head_dim=meta.key_length,
        n_ff=meta.fields.get(f"{meta.architecture}.feed_forward_length"),
        n_ctx_train=meta.context_length,
        n_vocab=meta.vocab_size,
        tokenizer=meta.tokenizer_model,
        types=_types(meta),
        license=meta.fields.get("general.license"),
        origin=next((meta.fields[key] for key in _ORIGINS if key in meta.fields), None),
        recipe=read_recipe(meta),
    )


def _types(meta: GgufMetadata) -> dict[str, StoredType]:
    tensors: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for tensor in meta.tensors:
        tensors[tensor.ggml_type] += 1
        sizes[tensor.ggml_type] += tensor.n_bytes
    return {name: StoredType(tensors[name], size) for name, size in sizes.most_common()}


def description_lines(found: FileDescription) -> list[tuple[str, str]]:
    """What `describe_file` found, as names and texts for people."""
    types = ", ".join(
        f"{name} {share.tensors} tensors {human_bytes(share.bytes)}" for name, share in found.types.items()
    )
    heads = f"{_range(found.n_head)} heads, {_range(found.n_head_kv)} KV heads of {found.head_dim}"
    lines = [
        ("model", f"{found.name}, {found.architecture} {found.quantization}"),
        ("file", f"{found.path}, {human_bytes(found.size_bytes)}, {found.bpw:.2f} bpw"),
        ("parameters", f"{found.n_params:,}, {found.n_params_in_blocks:,} of them in the blocks"),
        ("blocks", f"{found.n_blocks}, width {found.n_embd}, FFN {_range(found.n_ff)}"),
        ("attention", heads),
        ("context", f"{found.n_ctx_train} tokens trained"),
        ("vocabulary", f"{found.n_vocab} tokens, {found.tokenizer}"),
        ("types", types),
        ("licence", str(found.license or "not said")),
        ("origin", str(found.origin or "not said")),
    ]
    recipe = found.recipe
    if recipe is None:
        return lines
    lines.append(("made from", f"{recipe['source']['name']} by edgespec {recipe['edgespec']}"))
    return [*lines, *((f"step {number}", _step(step)) for number, step in enumerate(recipe["steps"], 1))]


def _range(value: object) -> str:
    """One number, or the smallest and the largest of those that differ by block."""
    if not isinstance(value, list) or any(isinstance(one, list) for one in value):
        return str(value)
    if not value:
        return "no"
    return str(value[0]) if len(set(value)) == 1 else f"{min(value)} to {max(value)}"


def _step(step: Step) -> str:
    options = ", ".join(f"{key} {_value(value)}" for key, value in step.items() if key != "step")
    return f"{step.get('step', 'unknown')}: {options}"


def _value(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {item}" for key, item in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
