"""Values over a pipe: a length, then the pickled value. Both ends are this program, so pickles are not a risk here."""

import pickle
import struct
from collections.abc import Iterator
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


class FrameReader:
    """The values in bytes that come piece by piece."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[object]:
        """What is whole with more bytes.

        Raises:
            EOFError: a value is none; nobody knows where the next one would begin.
        """
        self._data += data
        while len(self._data) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            body = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield _unpack(body)


def _unpack(body: bytes) -> object:
    try:
        value: object = pickle.loads(body)
    # A damaged pickle may raise anything.
    except Exception as error:
        raise EOFError from error
    return value
