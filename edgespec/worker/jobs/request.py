"""What the workshop is asked for, as a person writes it, and the settings of the core that come of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from edgespec.errors import UsageError
from edgespec.llama.quantizer import QuantizeSettings
from quant.convert.quantize import check_settings
from quant.prune.amount import Amount, choose_amount, read_blocks
from quant.prune.choices import Criterion, Importance, Method, Structure
from quant.prune.settings import PruneSettings
from quant.text.calibration import read_text
from quant.text.calibration_source import DEFAULT_TOKENS, OWN_ANSWERS, CalibrationSource

LEAST_TOKENS: Final = 1024
"""Of a calibration text, as in `edgespec prune`."""


class AmountUnit(StrEnum):
    """How it is said how much leaves."""

    SHARE = "share"
    """Of the weights in the blocks."""
    BLOCKS = "blocks"
    """A number of them."""
    PARAMS = "params"
    """Parameters that shall be left, such as `100M`."""
    NAMED = "named"
    """These blocks, such as `12-18` or `4,9`."""


@dataclass(frozen=True, slots=True)
class WorkshopRequest:
    """Numbers are as they were written: what makes no sense is told as the plan's error."""

    model: str
    """A name of the catalogue, or a path."""
    method: Method | None = Method.DEPTH
    """None only changes the types."""
    unit: AmountUnit = AmountUnit.SHARE
    amount: str = "0.25"
    criterion: Criterion | None = None
    structure: Structure | None = None
    importance: Importance | None = None
    protect_first: str = ""
    protect_last: str = ""
    """Blocks at the ends that stay as they are; empty takes the method's own."""
    repairs: bool = True
    file_type: str | None = None
    """None keeps the types."""
    calibration: str | None = OWN_ANSWERS
    """A text file's path, OWN_ANSWERS, or None where nothing is measured before quantizing."""
    n_tokens: str = str(DEFAULT_TOKENS)
    output: str = ""
    """Empty takes the name that the command line would."""
    folder: str = ""
    """Where a file goes whose name has no folder; empty takes `edgespec.paths.made_dir`."""

    def prune_settings(self, method: Method) -> PruneSettings:
        """As `edgespec prune` would be told.

        Raises:
            UsageError: what was written is not a number, or the text cannot be read.
        """
        named = read_blocks(self.amount) if self.unit is AmountUnit.NAMED else ()
        is_depth, is_llm_pruner = method is Method.DEPTH, method is Method.LLM_PRUNER
        return PruneSettings(
            amount=self._amount(len(named)),
            blocks=named,
            method=method,
            criterion=self.criterion if is_depth and not named else None,
            structure=None if is_depth else self.structure,
            importance=self.importance if is_llm_pruner else None,
            protect_first=_whole_or_none(self.protect_first, "protect_first"),
            protect_last=_whole_or_none(self.protect_last, "protect_last"),
            repairs=self.repairs,
            calibration=(self.calibration_source() or OWN_ANSWERS,),
            n_tokens=self.token_count(),
            file_type=self.file_type,
        )

    def quantize_settings(self) -> QuantizeSettings:
        """As `edgespec quantize` would be told; the importance is measured later.

        Raises:
            UsageError: no type, or one that needs an importance matrix where none is measured.
        """
        if self.file_type is None:
            raise UsageError("no `type` is chosen", "choose what the weights shall become, such as Q4_K_M")
        settings = QuantizeSettings(self.file_type)
        check_settings(settings, has_importance=self.calibration is not None)
        return settings

    def calibration_source(self) -> CalibrationSource | None:
        """The text, if there is to be one.

        Raises:
            UsageError: the file cannot be read.
        """
        if self.calibration is None or self.calibration == OWN_ANSWERS:
            return OWN_ANSWERS if self.calibration else None
        if not self.calibration.strip():
            raise UsageError(
                "no text file is named", "write its path, or calibrate on the model's own answers"
            )
        path = Path(self.calibration.strip()).expanduser()
        read_text(path)
        return path

    def token_count(self) -> int:
        """Length of the calibration text.

        Raises:
            UsageError: it is not a number, or too small.
        """
        count = _whole(self.n_tokens, "calibration_tokens")
        if count < LEAST_TOKENS:
            raise UsageError(
                f"`calibration_tokens` {count} is too few",
                f"take {LEAST_TOKENS} or more; {DEFAULT_TOKENS} is usual",
            )
        return count

    def _amount(self, n_named: int) -> Amount:
        match self.unit:
            case AmountUnit.SHARE:
                return choose_amount(ratio=_share(self.amount))
            case AmountUnit.BLOCKS:
                return choose_amount(n_blocks=_whole(self.amount, "n_blocks"))
            case AmountUnit.PARAMS:
                return choose_amount(params=self.amount.strip())
            case AmountUnit.NAMED:
                return choose_amount(n_named=n_named)


def _share(text: str) -> float:
    """0.25, of `0.25` or `25%`."""
    number = text.strip()
    try:
        return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise UsageError(
            f"`ratio` {text!r} is not a share of the weights", "write it as 0.25 or 25%"
        ) from None


def _whole_or_none(text: str, setting: str) -> int | None:
    return _whole(text, setting) if text.strip() else None


def _whole(text: str, setting: str) -> int:
    number = text.strip()
    if not (number.isascii() and number.isdigit()):
        raise UsageError(f"`{setting}` {text!r} is not a whole number", "write it in digits")
    return int(number)
