"""Element types of the KV cache."""

from enum import IntEnum

from edgespec.errors import UsageError


class KvType(IntEnum):
    """Element types that llama.cpp accepts for the KV cache, with ggml's numbers."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    IQ4_NL = 20
    BF16 = 30

    @classmethod
    def parse(cls, text: str) -> "KvType":
        """The type called `text`, in any case.

        Raises:
            UsageError: there is none; the hint lists those there are.
        """
        try:
            return cls[text.upper()]
        except KeyError:
            names = ", ".join(kind.name.lower() for kind in cls)
            raise UsageError(f"{text!r} is not a KV cache type", f"choose one of {names}") from None

    @property
    def bytes_per_element(self) -> float:
        """Storage of one element, block scales included: 34 bytes for 32 elements of Q8_0 are 1.0625."""
        bits = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q5_1": 6, "Q5_0": 5.5, "Q4_1": 5}
        return bits.get(self.name, 4.5) / 8
