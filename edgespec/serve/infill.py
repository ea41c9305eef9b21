"""What is to be filled in between two texts, as requests have it."""

from edgespec.chat.infill import NAMELESS, Infill, InfillFile
from edgespec.serve.errors import invalid
from edgespec.serve.fields import Fields


def read_infill(fields: Fields) -> Infill:
    """`input_prefix`, `input_suffix`, `input_extra` and `prompt`, as llama-server has them.

    Raises:
        ApiError: names the field.
    """
    extra = tuple(
        InfillFile(one.needed_text("text"), one.text("filename") or NAMELESS)
        for one in fields.each("input_extra")
    )
    return Infill(
        fields.needed_text("input_prefix"),
        fields.needed_text("input_suffix"),
        extra,
        fields.text("prompt") or "",
    )


def with_suffix(fields: Fields, prompts: list[list[str | int] | str]) -> list[Infill] | None:
    """The prompts of `/v1/completions` with the `suffix` that stands behind each of them; None where there is none.

    Raises:
        ApiError: a prompt is made of tokens.
    """
    suffix = fields.text("suffix")
    if not suffix:
        return None
    texts = [one for one in prompts if isinstance(one, str)]
    if len(texts) < len(prompts):
        raise invalid("suffix", "needs a `prompt` that is a text, and not tokens")
    return [Infill(one, suffix) for one in texts]
