"""The text that decodes are timed on. Which experts of a model are read depends on the tokens, and so does the time."""

from typing import Final

from edgespec.llama.context import Context
from edgespec.llama.model import Model
from edgespec.llama.slots import Slot

PRIMER_TOKENS: Final = 1
"""In the cache before the first timed decode."""
_TEXT: Final = """\
The harbour was still dark when the first boats came in. Men in rubber coats threw ropes to the quay, and a girl of about
ten caught every one of them and laid it around its post without being told. "Your father is late again," said the
woman from the fish hall. The girl looked out at the grey line where the sea ended. "He went further than the others,"
she said. "He always brings more."

How a lock gate works is easily explained. Water presses on both leaves, and because they meet at an angle, the pressure
closes them all the tighter. Before a ship can pass, the levels have to be made equal: valves in the gate, or in a tunnel
beside it, let the chamber fill within eight to twelve minutes. Only then can a motor of a few kilowatts move a leaf that
weighs forty tonnes.

```python
def moving_average(values: list[float], width: int) -> list[float]:
    if width < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    sums, total = [], 0.0
    for index, value in enumerate(values):
        total += value
        if index >= width:
            total -= values[index - width]
        sums.append(total / min(index + 1, width))
    return sums
```

Things to do before the guests arrive:

1. Sweep the terrace and put the chairs out.
2. Ask Mr. Okafor whether the band needs a second power socket.
3. Take 2.5 kg of potatoes, 300 g of butter and a bunch of chives out of the cellar.
4. Call the baker (+44 20 7946 0018) if the bread is not here by 16:30.

Dear Dr. Lindqvist, thank you for your letter of 3 March. The committee has read your proposal with great interest and
would like to know two things: which of the eleven sites you would study first if the money were to last for one summer
only, and whether the samples could be kept in Uppsala afterwards. We meet again on the 28th. Kind regards, T. Moreau

The error rate fell from 4.1 % to 0.7 % once both sensors were read at the same time; the remaining faults appeared at
night, when the temperature in the cabinet dropped below five degrees. We therefore recommend a heater rather than a new
board, since it costs a tenth and can be fitted by the staff on site.
"""


def timed_tokens(model: Model) -> list[int]:
    """The text in the model's tokens, a few hundred; for a model without a vocabulary arbitrary ones."""
    if model.has_vocabulary and (tokens := model.tokenize(_TEXT, add_special=False, parse_special=False)):
        return tokens
    return arbitrary_tokens(model, 512)


def arbitrary_tokens(model: Model, count: int) -> list[int]:
    """Tokens from all over the vocabulary, no two alike as long as it lasts."""
    return [(7919 * place + 13) % model.n_vocab for place in range(count)]


class TimedText:
    """A text that a context reads on and on, so that no decode repeats what another has read.

    Where the context is full it begins anew with the part of the text that comes next. Behind the end of the text comes
    its beginning.

    Args:
        context: Holds the primer from now on, and nothing else.
        most_rows: Of one decode.

    Raises:
        EngineError: llama.cpp failed.
    """

    def __init__(self, context: Context | Slot, most_rows: int) -> None:
        self._context = context
        tokens = timed_tokens(context.model)
        self._tokens = tokens * -(-(PRIMER_TOKENS + most_rows) // len(tokens))
        self._at = 0
        self._begin()

    def next(self, rows: int) -> list[int]:
        """The next tokens, which the context has room for; it is emptied for them if need be."""
        if rows > self._context.free_tokens:
            self._begin()
        return self._take(rows)

    def _begin(self) -> None:
        self._context.clear()
        self._context.prefill(self._take(PRIMER_TOKENS))

    def _take(self, count: int) -> list[int]:
        at, tokens = self._at, self._tokens
        self._at = (at + count) % len(tokens)
        return (tokens[at : at + count] + tokens)[:count]
