"""Values over a pipe: a length, then the pickled value. Both ends are this program, so pickles are no risk here."""

import pickle
import struct
from asyncio import IncompleteReadError, StreamReader
from typing import BinaryIO

_LENGTH = struct.Struct("<I")


def pack(value: object) -> bytes:
    """A value as one frame."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> object:
    """The next value of a blocking stream.

    Raises:
        EOFError: the other side is gone.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise EOFError
    body = stream.read(_LENGTH.unpack(length)[0])
    return pickle.loads(body)


async def receive_frame(stream: StreamReader) -> object:
    """The next value of an asyncio stream.

    Raises:
        EOFError: the other side is gone.
    """
    try:
        length = await stream.readexactly(_LENGTH.size)
        return pickle.loads(await stream.readexactly(_LENGTH.unpack(length)[0]))
    except IncompleteReadError as error:
        raise EOFError from error
