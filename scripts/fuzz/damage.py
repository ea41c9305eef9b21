"""How a file is damaged: Hypothesis draws which of its parts change, and into what.

Most changes keep the file well-formed, so that it comes past the reader of the header: what is odd then is what it says.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import gguf
from hypothesis import strategies as st

from .layout import ARRAY, SCALARS, STRING, Field, Gguf, Items, Tensor

Draw = Callable[[st.SearchStrategy[Any]], Any]
"""As Hypothesis gives it to a composite strategy."""

NUMBERS: Final = (
    *(
        0,
        1,
        2,
        3,
        4,
        5,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        127,
        128,
        255,
        256,
        257,
        511,
        512,
        513,
        1000,
        4096,
    ),
    *(
        2**15 - 1,
        2**16 - 1,
        2**16,
        2**20,
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**32,
        2**53,
        2**63 - 1,
        2**63,
        2**64 - 1,
    ),
    *(-1, -2, -100, -(2**31), -(2**63)),
)
FLOATS: Final = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-45,
    1e-30,
    0.5,
    1e30,
    3.4e38,
    float("inf"),
    -float("inf"),
    float("nan"),
)
TEXTS: Final = (
    *(
        b"",
        b" ",
        b"\n",
        b"\x00",
        b"\xff\xfe",
        b"a",
        b"12",
        b"{",
        b"{{ messages }}",
        b"{% if %}",
        b"\x1b[31m",
        b"%s%n",
    ),
    *(
        "\u2581".encode(),
        "\u202e".encode(),
        b"<0x0A>",
        b"<|im_end|>",
        b"</s>",
        b"..\\..",
        b"/etc/passwd",
        b"x" * 300,
    ),
    *(b"[" * 5000, b'{"schema": "edgespec.recipe/1", "steps": [1]}', b"9" * 5000),
    *(b"linear", b"yarn", b"longrope", b"none", b"imatrix", b"adapter", b"model", b"mmproj", b"lora"),
)
TOKENIZERS: Final = (
    *(b"llama", b"gpt2", b"bert", b"t5", b"rwkv", b"plamo2", b"gemma4", b"hybriddna", b"whitespace", b"none"),
    *(b"no_vocab", b"test"),
)
PRE_TOKENIZERS: Final = (
    b"default",
    b"llama-bpe",
    b"qwen2",
    b"gpt-2",
    b"deepseek-v3",
    b"tekken",
    b"gpt-4o",
    b"kimi-k2",
)
ARCHITECTURES: Final = tuple(name.encode() for name in gguf.MODEL_ARCH_NAMES.values())
TENSOR_TYPES: Final = tuple(range(44))
_SOUND_FIRST: Final = 24
"""Bytes of magic, version and counts."""


def _keys_of(names: type) -> Iterator[str]:
    for name, value in vars(names).items():
        if isinstance(value, str) and not name.startswith("_"):
            yield value
        elif isinstance(value, type):
            yield from _keys_of(value)


KEYS: Final = (
    *sorted(set(_keys_of(gguf.Keys))),
    "edgespec.recipe",
    "edgespec.shortlist.frequent",
    "edgespec.shortlist.extra",
)
"""Every key that GGUF has a word for; `{arch}` stands for the architecture."""


@st.composite
def damaged(draw: Draw, sound: Gguf) -> bytes:
    """The bytes of a copy of `sound` with one to four changes."""
    file = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_CHANGES))(draw, file)
    data = file.encode()
    if draw(st.integers(0, 7)) == 0:
        data = _torn(draw, data)
    return data


def number(draw: Draw) -> int:
    """A number at whose like programs break."""
    return int(draw(st.one_of(st.sampled_from(NUMBERS), st.integers(0, 300))))


def _any_value(draw: Draw) -> tuple[int, object]:
    value_type = draw(st.sampled_from([*SCALARS, STRING, ARRAY]))
    if value_type == ARRAY:
        item_type = draw(st.sampled_from([*SCALARS, STRING, ARRAY]))
        return ARRAY, Items(item_type, [_scalar(draw, item_type) for _ in range(draw(st.integers(0, 6)))])
    return value_type, _scalar(draw, value_type)


def _scalar(draw: Draw, value_type: int) -> object:
    if value_type == ARRAY:
        return Items(draw(st.sampled_from([4, STRING])), [])
    if value_type == STRING:
        return draw(st.sampled_from(TEXTS))
    return draw(st.sampled_from(FLOATS)) if value_type in (6, 12) else number(draw)


def _of_the_model(draw: Draw, file: Gguf) -> Field | None:
    """A field, mostly one of the architecture's: those steer what llama.cpp computes."""
    own = [one for one in file.fields if one.key.startswith(file.architecture + b".")]
    chosen = own if own and draw(st.integers(0, 3)) else file.fields
    return draw(st.sampled_from(chosen)) if chosen else None


def _change_value(draw: Draw, file: Gguf) -> None:
    one = _of_the_model(draw, file)
    if one is None:
        return
    if isinstance(one.value, Items) and one.value.items:
        _change_items(draw, one.value)
    elif one.value_type in SCALARS or one.value_type == STRING:
        one.value = _scalar(draw, one.value_type)


def _change_items(draw: Draw, array: Items) -> None:
    items = array.items
    place = draw(st.integers(0, len(items) - 1))
    match draw(st.integers(0, 6)):
        case 0:
            items[place] = _scalar(draw, array.item_type)
        case 1:
            del items[place:]
        case 2:
            items[place] = items[draw(st.integers(0, len(items) - 1))]
        case 3:
            items.extend(items[: draw(st.integers(1, 64))])
        case 4:
            del items[place]
        case 5:
            array.claimed = number(draw)
        case _:
            items[:] = [items[place]] * len(items)


def _change_type(draw: Draw, file: Gguf) -> None:
    one = _of_the_model(draw, file)
    if one is not None:
        one.value_type, one.value = _any_value(draw)


def _drop_field(draw: Draw, file: Gguf) -> None:
    one = _of_the_model(draw, file)
    if one is not None:
        file.fields.remove(one)


def _repeat_field(draw: Draw, file: Gguf) -> None:
    one = _of_the_model(draw, file)
    if one is not None:
        file.fields.append(replace(one))


def _add_field(draw: Draw, file: Gguf) -> None:
    """A key that llama.cpp knows, with a value of a likely type."""
    architecture = file.architecture.decode("utf-8", "replace")
    key = str(draw(st.sampled_from(KEYS))).replace("{arch}", architecture).replace("{id}", "0").encode()
    likely = st.sampled_from(
        [(4, number), (6, lambda _: draw(st.sampled_from(FLOATS))), (7, lambda _: draw(st.integers(0, 1)))]
    )
    if draw(st.integers(0, 2)):
        value_type, make = draw(likely)
        value: object = make(draw)
    else:
        value_type, value = _any_value(draw)
    file.fields = [one for one in file.fields if one.key != key]
    file.fields.append(Field(key, value_type, value))


def _change_architecture(draw: Draw, file: Gguf) -> None:
    """Another architecture, with the fields under its name or without any."""
    old, new = file.architecture, draw(st.sampled_from(ARCHITECTURES))
    found = file.find(b"general.architecture")
    if found is None:
        return
    found.value_type, found.value = STRING, new
    if draw(st.integers(0, 4)):
        for one in file.fields:
            if old and one.key.startswith(old + b"."):
                one.key = new + one.key[len(old) :]


def _change_tokenizer(draw: Draw, file: Gguf) -> None:
    key, values = draw(
        st.sampled_from([(b"tokenizer.ggml.model", TOKENIZERS), (b"tokenizer.ggml.pre", PRE_TOKENIZERS)])
    )
    found = file.find(key)
    if found is not None:
        found.value_type, found.value = STRING, draw(st.sampled_from(values))


def _change_vocabulary(draw: Draw, file: Gguf) -> None:
    names = (b"tokens", b"scores", b"token_type", b"merges")
    found = file.find(b"tokenizer.ggml." + draw(st.sampled_from(names)))
    if found is not None and isinstance(found.value, Items) and found.value.items:
        for _ in range(draw(st.integers(1, 8))):
            if found.value.items:
                _change_items(draw, found.value)


def _a_tensor(draw: Draw, file: Gguf) -> Tensor | None:
    return draw(st.sampled_from(file.tensors)) if file.tensors else None


def _change_shape(draw: Draw, file: Gguf) -> None:
    tensor = _a_tensor(draw, file)
    if tensor is None or not tensor.shape:
        return
    place = draw(st.integers(0, len(tensor.shape) - 1))
    match draw(st.integers(0, 5)):
        case 0:
            tensor.shape.reverse()
        case 1:
            tensor.shape[place] += draw(st.sampled_from([-32, -1, 1, 32]))
        case 2:
            tensor.shape[place] = number(draw)
        case 3:
            tensor.shape[place] *= 2
        case 4:
            tensor.shape.append(draw(st.sampled_from([0, 1, 2, 2**32])))
        case _:
            del tensor.shape[place]


def _change_tensor_type(draw: Draw, file: Gguf) -> None:
    tensor = _a_tensor(draw, file)
    if tensor is not None:
        tensor.type_id = draw(st.one_of(st.sampled_from([0, 1, 2, 8, 30]), st.sampled_from(TENSOR_TYPES)))


def _change_name(draw: Draw, file: Gguf) -> None:
    tensor, other = _a_tensor(draw, file), _a_tensor(draw, file)
    if tensor is None or other is None:
        return
    match draw(st.integers(0, 3)):
        case 0:
            tensor.name, other.name = other.name, tensor.name
        case 1:
            tensor.name = draw(st.sampled_from(TEXTS))
        case 2:
            tensor.name = tensor.name.replace(b"blk.0", b"blk.%d" % draw(st.sampled_from([1, 9, 511, 2**31])))
        case _:
            tensor.name = other.name


def _drop_tensor(draw: Draw, file: Gguf) -> None:
    tensor = _a_tensor(draw, file)
    if tensor is not None:
        file.tensors.remove(tensor)


def _move_tensor(draw: Draw, file: Gguf) -> None:
    tensor = _a_tensor(draw, file)
    if tensor is not None:
        tensor.shift = draw(st.sampled_from([-1, 1, 32, -32, 4096, 2**31, 2**63, 2**64 - 32]))


def _change_data(draw: Draw, file: Gguf) -> None:
    tensor = _a_tensor(draw, file)
    if tensor is None or not tensor.data:
        return
    size = len(tensor.data)
    match draw(st.integers(0, 3)):
        case 0:  # numbers that are none: NaN and infinity of single precision
            tensor.data = draw(st.sampled_from([b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"])) * (size // 4)
        case 1:
            tensor.data = bytes([draw(st.sampled_from([0, 0x7F, 0x80, 0xFF]))]) * size
        case 2:
            place = draw(st.integers(0, size - 1))
            tensor.data = tensor.data[:place] + b"\xff\xff\xff\xff" + tensor.data[place + 4 :]
        case _:
            tensor.data = tensor.data[::-1]


def _change_counts(draw: Draw, file: Gguf) -> None:
    match draw(st.integers(0, 3)):
        case 0:
            file.n_fields = number(draw)
        case 1:
            file.n_tensors = number(draw)
        case 2:
            file.version = number(draw) % 2**32
        case _:
            file.alignment = draw(st.sampled_from([1, 8, 16, 64, 4096]))


def _torn(draw: Draw, data: bytes) -> bytes:
    """Cut off, or with some bytes changed, most of them in the header."""
    place = draw(st.integers(0, min(len(data), draw(st.sampled_from([_SOUND_FIRST, 4096, len(data)])))))
    match draw(st.integers(0, 3)):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + _few_bytes(draw) + data[place:]
        case 2:
            return data[:place] + data[place + draw(st.integers(1, 64)) :]
        case _:
            changed = _few_bytes(draw)
            return data[:place] + changed + data[place + len(changed) :]


def _few_bytes(draw: Draw) -> bytes:
    return bytes(draw(st.binary(min_size=1, max_size=8)))


_CHANGES: Final = (
    *(_change_value,) * 6,
    *(_change_type, _drop_field, _repeat_field, _change_architecture, _change_tokenizer),
    *(_add_field,) * 4,
    *(_change_vocabulary,) * 2,
    *(_change_shape, _change_shape, _change_tensor_type, _change_name, _drop_tensor, _move_tensor),
    *(_change_data,) * 3,
    _change_counts,
)
"""What may change, the likelier the more often it stands here."""
