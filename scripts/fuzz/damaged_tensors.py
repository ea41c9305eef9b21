"""What may change in a file's tensors: each function draws one change and makes it."""

from collections.abc import Callable
from typing import Final

from hypothesis import strategies as st

from .layout import Gguf, Tensor
from .odd_values import TEXTS, Draw, number

_TYPES: Final = tuple(range(44))
_USUAL_TYPES: Final = (0, 1, 2, 8, 30)
_SINGLE_NAN: Final = b"\x00\x00\xc0\x7f"
_SINGLE_INFINITY: Final = b"\x00\x00\x80\x7f"


def on_a_tensor(change: Callable[[Draw, Gguf, Tensor], None]) -> Callable[[Draw, Gguf], None]:
    """The change on a tensor that is drawn."""

    def change_one(draw: Draw, file: Gguf) -> None:
        if file.tensors:
            change(draw, file, draw(st.sampled_from(file.tensors)))

    return change_one


def change_shape(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Another size, or a dimension more or less."""
    if not tensor.shape:
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


def change_tensor_type(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Another type, mostly one that models have."""
    tensor.type_id = draw(st.one_of(st.sampled_from(_USUAL_TYPES), st.sampled_from(_TYPES)))


def change_name(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Another's name, another block's, or none that anybody knows."""
    other = draw(st.sampled_from(file.tensors))
    match draw(st.integers(0, 3)):
        case 0:
            tensor.name, other.name = other.name, tensor.name
        case 1:
            tensor.name = draw(st.sampled_from(TEXTS))
        case 2:
            tensor.name = tensor.name.replace(b"blk.0", b"blk.%d" % draw(st.sampled_from([1, 9, 511, 2**31])))
        case _:
            tensor.name = other.name


def drop_tensor(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Gone."""
    file.tensors.remove(tensor)


def move_tensor(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Said to be elsewhere."""
    tensor.shift = draw(st.sampled_from([-1, 1, 32, -32, 4096, 2**31, 2**63, 2**64 - 32]))


def change_data(draw: Draw, file: Gguf, tensor: Tensor) -> None:
    """Weights that are no numbers, all the same, damaged in one place, or in another order."""
    size = len(tensor.data)
    if not size:
        return
    match draw(st.integers(0, 3)):
        case 0:
            tensor.data = draw(st.sampled_from([_SINGLE_NAN, _SINGLE_INFINITY])) * (size // 4)
        case 1:
            tensor.data = bytes([draw(st.sampled_from([0, 0x7F, 0x80, 0xFF]))]) * size
        case 2:
            place = draw(st.integers(0, size - 1))
            tensor.data = tensor.data[:place] + b"\xff\xff\xff\xff" + tensor.data[place + 4 :]
        case _:
            tensor.data = tensor.data[::-1]
