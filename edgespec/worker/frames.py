"""Values over a pipe: a length, then the pickled value. Both ends are this program, so pickles are not a risk here."""

import pickle
import struct
from asyncio import IncompleteReadError, StreamReader
from typing import BinaryIO, Final

_LENGTH: Final = struct.Struct("<I")


def pack(value: object) -> bytes:
    """A value as one frame: 4 bytes of length, little-endian, and the pickle.

    Raises:
        Exception: the value does not pickle.
    """
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> object:
    """The next value of a blocking stream.

    Raises:
        EOFError: the other side is gone, perhaps in the middle of a frame, or sends what is no frame: nobody knows where
            the next one would begin.
    """
    (length,) = _LENGTH.unpack(_read_whole(stream, _LENGTH.size))
    return _unpack(_read_whole(stream, length))


def _read_whole(stream: BinaryIO, n_bytes: int) -> bytes:
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError
    return data


async def receive_frame(stream: StreamReader) -> object:
    """The next value of an asyncio stream.

    Raises:
        EOFError: as of `read_frame`.
    """
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return _unpack(await stream.readexactly(length))
    except IncompleteReadError as error:
        raise EOFError from error


def _unpack(body: bytes) -> object:
    try:
        value: object = pickle.loads(body)
    # A damaged pickle may raise anything.
    except Exception as error:
        raise EOFError from error
    return value
