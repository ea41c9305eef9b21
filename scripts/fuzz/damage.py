"""How a file is damaged: Hypothesis draws which of its parts change, and into what.

Most changes keep the file well-formed, so that it comes past the reader of the header: what is odd then is what it says.
"""

import copy
from typing import Final

from hypothesis import strategies as st

from . import damaged_fields as of_fields
from . import damaged_tensors as of_tensors
from .damaged_fields import on_a_field
from .damaged_tensors import on_a_tensor
from .layout import Gguf
from .odd_values import Draw, number

_SOUND_FIRST: Final = 24
"""Bytes of magic, version and counts."""


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
    """Cut off, or with some bytes more, less or other, most of them in the header."""
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
    *(on_a_field(of_fields.change_value),) * 6,
    *map(on_a_field, (of_fields.change_type, of_fields.drop_field, of_fields.repeat_field)),
    *(of_fields.change_architecture, of_fields.change_tokenizer),
    *(of_fields.add_field,) * 4,
    *(of_fields.change_vocabulary,) * 2,
    *(on_a_tensor(of_tensors.change_shape),) * 2,
    *map(on_a_tensor, (of_tensors.change_tensor_type, of_tensors.change_name)),
    *map(on_a_tensor, (of_tensors.drop_tensor, of_tensors.move_tensor)),
    *(on_a_tensor(of_tensors.change_data),) * 3,
    _change_counts,
)
"""What may change, the likelier the more often it stands here."""
