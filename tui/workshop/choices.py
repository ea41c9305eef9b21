"""What the workshop lets choose from: the models that are here."""

from edgespec.text import human_bytes, one_line
from tui.common.ask import Choice
from tui.models.rows import ModelList


def model_choices(models: ModelList) -> list[Choice]:
    """By their specs, each with its size and place; one that cannot be read is shown and not chosen."""
    return [
        Choice(
            row.spec,
            f"{one_line(row.name)}  {human_bytes(row.size_bytes or 0)}",
            str(row.path),
            disabled=bool(row.trouble),
        )
        for row in models.rows
        if row.is_here
    ]
