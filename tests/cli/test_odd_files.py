"""Headers of any kind, through the commands that read nothing else: an answer or one line, and never a bug."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgespec.catalog.metadata import read_metadata
from edgespec.errors import ExitCode
from tests.catalog.gguf_files import write_gguf
from tests.conftest import RunCli

Kind = gguf.GGUFValueType

VALUES = st.one_of(
    st.tuples(st.just(Kind.UINT32), st.sampled_from([0, 1, 2, 7, 64, 2**31, 2**32 - 1])),
    st.tuples(st.just(Kind.UINT64), st.sampled_from([0, 5, 2**64 - 1])),
    st.tuples(st.just(Kind.INT32), st.sampled_from([-(2**31), -1, 4])),
    st.tuples(st.just(Kind.FLOAT32), st.sampled_from([0.0, -1.5, float("nan"), float("inf")])),
    st.tuples(st.just(Kind.BOOL), st.booleans()),
    st.tuples(st.just(Kind.STRING), st.sampled_from(["", "12", "{", "\x1b[31m\n", "{% if %}"])),
    st.tuples(
        st.just(Kind.ARRAY),
        st.sampled_from([[1, 0, 2], [-1], [1.5, float("nan")], [True, False], ["a", "b"], [2**31 - 1] * 4]),
    ),
)
ARCHITECTURES = [
    "llama",
    "qwen2",
    "gemma3",
    "mamba",
    "lfm2",
    "qwen35",
    "deepseek2",
    "gpt-oss",
    "deci",
    "odd\n",
    "bert",
]
KEYS = [
    *(
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "expert_count",
        "vocab_size",
    ),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
    *("expert_used_count", "attention.sliding_window", "attention.sliding_window_pattern", "pooling_type"),
    *(
        "attention.kv_lora_rank",
        "ssm.state_size",
        "ssm.inner_size",
        "attention.causal",
        "attention.shared_kv_layers",
    ),
]
GENERAL = [
    *("general.name", "general.file_type", "general.type", "general.license", "edgespec.recipe"),
    *(
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.bos_token_id",
        "tokenizer.chat_template",
    ),
]
TENSORS = [
    "token_embd.weight",
    "output.weight",
    "blk.0.ffn_down.weight",
    "blk.0.attn_norm.weight",
    "blk.9.x",
    "",
    "\x1b[0m",
]
SHAPES: list[tuple[int, ...]] = [(64,), (4, 64), (2, 4, 64), (0, 64), (4, 0), (1,)]
COMMANDS = [
    ("show", "{}"),
    ("show", "{}", "--json"),
    ("models", "show", "{}"),
    ("pair", "{}"),
    ("plan", "{}", "--hardware", "h100", "--json"),
    ("prune", "{}", "--remove", "0", "--no-repair", "--dry-run"),
    ("prune", "{}", "--method", "flap", "--no-repair", "--dry-run"),
]


def write_odd(
    path: Path, architecture: str, fields: dict[str, tuple[Kind, Any]], tensors: dict[str, Any]
) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(2)
    for key, (kind, value) in fields.items():
        name = key if key in GENERAL else f"{architecture}.{key}"
        sub_type = Kind.get_type(value[0]) if kind is Kind.ARRAY else None
        writer.kv_data[0].pop(name, None)
        writer.add_key_value(name, value, kind, sub_type=sub_type)
    for name, shape in tensors.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    architecture=st.sampled_from(ARCHITECTURES),
    fields=st.dictionaries(st.sampled_from([*KEYS, *GENERAL]), VALUES, max_size=8),
    tensors=st.dictionaries(st.sampled_from(TENSORS), st.sampled_from(SHAPES), max_size=4),
    command=st.sampled_from(COMMANDS),
)
def test_any_header_is_answered_or_refused_in_one_line(
    run_cli: RunCli,
    tmp_path: Path,
    architecture: str,
    fields: dict[str, tuple[Kind, Any]],
    tensors: dict[str, Any],
    command: tuple[str, ...],
):
    path = tmp_path / "odd.gguf"
    write_odd(path, architecture, fields, tensors)
    result = run_cli(*(word.format(path) for word in command))
    if result.code == 0:
        assert result.out
        if "--json" in command:
            json.loads(result.out)
    else:
        assert result.code in (ExitCode.USAGE, ExitCode.MODEL), result.err
        assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("value", [[1.5, 2.0], ["a"], [True, False], True, "4", 1.5])
def test_counts_that_are_no_whole_numbers_are_not_said(tmp_path: Path, value: Any):
    path = tmp_path / "odd.gguf"
    kind = Kind.get_type(value)
    write_odd(path, "llama", {"attention.head_count": (kind, value), "block_count": (kind, value)}, {})
    meta = read_metadata(path)
    assert (meta.head_count, meta.block_count) == (None, None)


def test_weights_of_no_elements_are_none(run_cli: RunCli, tmp_path: Path):
    path = write_gguf(tmp_path / "hollow.gguf", rows=0)
    result = run_cli("plan", path, "--hardware", "h100")
    assert (result.code, "a file without weights" in result.err) == (ExitCode.MODEL, True)
