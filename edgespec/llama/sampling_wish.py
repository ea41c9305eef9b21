"""What was asked of the sampling, as far as anything was: the rest is left to the model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgespec.llama.sampler import Sampling


@dataclass(frozen=True, slots=True)
class SamplingWish:
    """The fields of `Sampling`; None for what was not asked for.

    Raises:
        UsageError: a value outside its range.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_last_n: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self.over(Sampling())

    @property
    def given(self) -> Mapping[str, Any]:
        """What was asked for, numbers by their names; which are whole ones no type says."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def over(self, own: Sampling) -> Sampling:
        """What was asked for, and the model's own for the rest."""
        return replace(own, **self.given)

    def under(self, nearer: "SamplingWish") -> "SamplingWish":
        """Both, the nearer one where both say something."""
        return replace(self, **nearer.given)


AnySampling = Sampling | SamplingWish
"""All of it, or what was asked of it."""
NO_WISH = SamplingWish()


def settle_sampling(asked: AnySampling | None, own: Sampling) -> Sampling:
    """How tokens are picked, of what was asked and what the model's own is."""
    if isinstance(asked, Sampling):
        return asked
    return (asked or NO_WISH).over(own)
