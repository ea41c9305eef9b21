"""What may change in a file's fields: each function draws one change and makes it."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st

from .layout import SCALARS, STRING, Field, Gguf, Items
from .odd_values import (
    ARCHITECTURES,
    FLOATS,
    KEYS,
    PRE_TOKENIZERS,
    TOKENIZERS,
    Draw,
    any_value,
    number,
    scalar,
)


def on_a_field(change: Callable[[Draw, Gguf, Field], None]) -> Callable[[Draw, Gguf], None]:
    """The change on a field that is drawn, mostly one of the architecture's: those steer what llama.cpp computes."""

    def change_one(draw: Draw, file: Gguf) -> None:
        own = [one for one in file.fields if one.key.startswith(file.architecture + b".")]
        chosen = own if own and draw(st.integers(0, 3)) else file.fields
        if chosen:
            change(draw, file, draw(st.sampled_from(chosen)))

    return change_one


def change_value(draw: Draw, file: Gguf, one: Field) -> None:
    """Another value of the same type."""
    if isinstance(one.value, Items) and one.value.items:
        _change_items(draw, one.value)
    elif one.value_type in SCALARS or one.value_type == STRING:
        one.value = scalar(draw, one.value_type)


def change_type(draw: Draw, file: Gguf, one: Field) -> None:
    """A value of another type."""
    one.value_type, one.value = any_value(draw)


def drop_field(draw: Draw, file: Gguf, one: Field) -> None:
    """Gone."""
    file.fields.remove(one)


def repeat_field(draw: Draw, file: Gguf, one: Field) -> None:
    """There twice."""
    file.fields.append(replace(one))


def add_field(draw: Draw, file: Gguf) -> None:
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
        value_type, value = any_value(draw)
    file.fields = [one for one in file.fields if one.key != key]
    file.fields.append(Field(key, value_type, value))


def change_architecture(draw: Draw, file: Gguf) -> None:
    """Another architecture, with the fields under its name or without any."""
    old, new = file.architecture, draw(st.sampled_from(ARCHITECTURES))
    if _say_text(file, b"general.architecture", new) and old and draw(st.integers(0, 4)):
        for one in file.fields:
            if one.key.startswith(old + b"."):
                one.key = new + one.key[len(old) :]


def change_tokenizer(draw: Draw, file: Gguf) -> None:
    """Another tokenizer, or another way to cut a text before it."""
    key, values = draw(
        st.sampled_from([(b"tokenizer.ggml.model", TOKENIZERS), (b"tokenizer.ggml.pre", PRE_TOKENIZERS)])
    )
    _say_text(file, key, draw(st.sampled_from(values)))


def change_vocabulary(draw: Draw, file: Gguf) -> None:
    """One to eight changes in a list of the vocabulary."""
    names = (b"tokens", b"scores", b"token_type", b"merges")
    found = file.find(b"tokenizer.ggml." + draw(st.sampled_from(names)))
    if found is None or not isinstance(found.value, Items):
        return
    for _ in range(draw(st.integers(1, 8))):
        if found.value.items:
            _change_items(draw, found.value)


def _say_text(file: Gguf, key: bytes, text: bytes) -> bool:
    """Whether there is such a field: it says `text` from here on."""
    found = file.find(key)
    if found is not None:
        found.value_type, found.value = STRING, text
    return found is not None


def _change_items(draw: Draw, array: Items) -> None:
    items = array.items
    place = draw(st.integers(0, len(items) - 1))
    match draw(st.integers(0, 6)):
        case 0:
            items[place] = scalar(draw, array.item_type)
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
