"""What a repair brought, by text that its fit has not seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Means in nats a token. The names of the fields are those of JSON documents.

    The KL divergence from the dense model judges: the negative log-likelihood of a few hundred tokens hangs on which ones
    the text has (0.5B, 5 of 24 blocks, 511 tokens of own answers: the repair's gain was 0.18 +- 0.03 in the former and
    -0.10 +- 0.08 in the latter; on other text it gained in both).
    """

    dense_nll: float
    cut_nll: float
    """Of the smaller model as it was taken out of the dense one."""
    repaired_nll: float
    cut_kl: float
    repaired_kl: float
    harmed_texts: tuple[int, ...]
    """The calibration texts, counted from 0, on which the repaired model is farther from the dense one than the unrepaired
    one."""

    @property
    def helped(self) -> bool:
        """Whether the repaired model is closer to the dense one than the unrepaired one, and on no text farther away."""
        return not self.objection

    @property
    def objection(self) -> str:
        """Why the repair is left out; empty where it helped."""
        if self.repaired_kl >= self.cut_kl:
            return "it did not help"
        return "it made the model worse on one of the texts" if self.harmed_texts else ""
