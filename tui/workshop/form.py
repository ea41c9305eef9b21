"""The workshop's form: which model, what leaves, which types, where to. Fields that a method has no use for are hidden."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, Label, Select

from edgespec.text import one_line
from edgespec.worker.jobs.request import AmountUnit, WorkshopRequest
from quant.prune.choices import Criterion, Importance, Method, Structure
from quant.text.calibration_source import OWN_ANSWERS
from tui.common.tick_box import TickBox

TYPES: Final = (
    *("Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q5_K_M", "Q5_K_S", "Q5_0", "Q6_K", "Q8_0", "F16", "BF16"),
    *("Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS"),
    *("IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
)
_KEEP: Final = "keep"
_FIRST_TYPE: Final = "Q4_K_M"
_QUANTIZE: Final = "quantize"
_TEXT: Final = "text"
_OWN: Final = "own"
_NONE: Final = "none"
_METHODS: Final = (
    ("remove whole blocks", str(Method.DEPTH)),
    ("narrow blocks (FLAP)", str(Method.FLAP)),
    ("narrow blocks (LLM-Pruner)", str(Method.LLM_PRUNER)),
    ("quantize only", _QUANTIZE),
)
_UNITS: Final = (
    ("of weights", AmountUnit.SHARE),
    ("blocks", AmountUnit.BLOCKS),
    ("params left", AmountUnit.PARAMS),
    ("by number", AmountUnit.NAMED),
)
_AMOUNTS: Final = {
    AmountUnit.SHARE: ("0.25", "such as 0.25"),
    AmountUnit.BLOCKS: ("4", "such as 4"),
    AmountUnit.PARAMS: ("", "such as 100M"),
    AmountUnit.NAMED: ("", "12-18 or 4,9"),
}
"""What a unit begins with, and what is written where nothing is."""
_CRITERIA: Final = (
    ("best repaired window", Criterion.WINDOW),
    ("perplexity without it", Criterion.PPL),
    ("KL without it", Criterion.KL),
    ("greedy (SLEB)", Criterion.GREEDY),
    ("block influence", Criterion.BLOCK_INFLUENCE),
    ("angular distance", Criterion.ANGULAR),
    ("Taylor", Criterion.TAYLOR),
    ("magnitude", Criterion.MAGNITUDE),
)
_STRUCTURES: Final = (("as published", _NONE), ("by one ranking", "adaptive"), ("all alike", "uniform"))
_IMPORTANCES: Final = tuple((str(importance), importance) for importance in Importance)
_PRUNING_TEXTS: Final = (("its own answers", _OWN), ("a text file", _TEXT))
_IMATRIX_TEXTS: Final = (("not measured", _NONE), *_PRUNING_TEXTS)


class Field(Horizontal):
    """A label and what belongs to it, in one line."""

    def __init__(self, title: str, *widgets: Widget, name: str) -> None:
        super().__init__(Label(title), *widgets, id=f"field-{name}", classes="field")


class WorkshopForm(VerticalScroll):
    """Fields over a `WorkshopRequest`; every change is told as `Changed`."""

    @dataclass
    class Changed(Message):
        """Something else is asked for."""

        request: WorkshopRequest

    class ChooseRequested(Message):
        """The button beside the model was pressed."""

    def __init__(self) -> None:
        super().__init__(id="workshop-form", can_focus=False)
        self._names_itself = True
        """The output's name follows the plan until somebody writes one."""
        self._told: WorkshopRequest | None = None

    def compose(self) -> ComposeResult:
        """A line for each field."""
        yield Field(
            "Model",
            Input(id="model", placeholder="a name or a .gguf", compact=True),
            Button("List", id="choose-model", compact=True),
            name="model",
        )
        yield Field("Method", _select("method", _METHODS), name="method")
        yield Field(
            "Remove",
            Input(_AMOUNTS[AmountUnit.SHARE][0], id="amount", compact=True),
            _select("unit", _UNITS),
            name="amount",
        )
        yield Field("Chosen by", _select("criterion", _CRITERIA), name="criterion")
        yield Field("Score", _select("importance", _IMPORTANCES), name="importance")
        yield Field("Widths", _select("structure", _STRUCTURES), name="structure")
        yield Field(
            "Protect",
            Input(id="protect-first", placeholder="first blocks", compact=True),
            Input(id="protect-last", placeholder="last blocks", compact=True),
            name="protect",
        )
        yield Field("Repair", TickBox("refit what is left", True, name="repair"), name="repair")
        kept = [("as they are", _KEEP), *((name, name) for name in TYPES)]
        yield Field("Types", _select("type", kept), name="type")
        yield Field("Calibrate", _select("calibration", _PRUNING_TEXTS), name="calibration")
        yield Field("Importance", _select("imatrix", _IMATRIX_TEXTS), name="imatrix")
        yield Field("Text", Input(id="text", placeholder="path of a text file", compact=True), name="text")
        yield Field("Tokens", Input(WorkshopRequest("").n_tokens, id="tokens", compact=True), name="tokens")
        yield Field(
            "Write to", Input(id="output", placeholder="named by the plan", compact=True), name="output"
        )

    def on_mount(self) -> None:
        """Shows the fields of the first method."""
        self._show_fields()

    @property
    def request(self) -> WorkshopRequest:
        """What is in the fields."""
        method, file_type = self._chosen("method"), self._chosen("type")
        structure = self._chosen("structure")
        return WorkshopRequest(
            model=self._written("model"),
            method=None if method == _QUANTIZE else Method(method),
            unit=AmountUnit(self._chosen("unit")),
            amount=self._written("amount"),
            criterion=Criterion(self._chosen("criterion")),
            structure=None if structure == _NONE else cast("Structure", structure),
            importance=Importance(self._chosen("importance")),
            protect_first=self._written("protect-first"),
            protect_last=self._written("protect-last"),
            repairs=self.query_one("#repair", Checkbox).value,
            file_type=None if file_type == _KEEP else file_type,
            calibration=self._calibration(),
            n_tokens=self._written("tokens"),
            output="" if self._names_itself else self._written("output"),
        )

    def take_model(self, spec: str) -> None:
        """Writes another model into its field."""
        self.query_one("#model", Input).value = spec

    def name_output(self, name: str) -> None:
        """The name that the plan gives the new file; one that was written stays."""
        output = self.query_one("#output", Input)
        if self._names_itself and not output.has_focus:
            with self.prevent(Input.Changed):
                output.value = one_line(name)

    @on(Button.Pressed, "#choose-model")
    def _list_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.ChooseRequested())

    @on(Input.Submitted)
    def _field_left(self) -> None:
        self.screen.focus_next()

    @on(Input.Changed, "#output")
    def _output_written(self, event: Input.Changed) -> None:
        self._names_itself = not event.value.strip()

    @on(Select.Changed, "#unit")
    def _unit_chosen(self, event: Select.Changed) -> None:
        first, hint = _AMOUNTS[AmountUnit(str(event.value))]
        amount = self.query_one("#amount", Input)
        amount.placeholder = hint
        if self._told is not None:
            amount.value = first

    @on(Select.Changed, "#method")
    def _method_chosen(self, event: Select.Changed) -> None:
        types = self.query_one("#type", Select)
        if event.value == _QUANTIZE and types.value == _KEEP:
            types.value = _FIRST_TYPE

    @on(Input.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    def _something_changed(self) -> None:
        self._show_fields()
        request = self.request
        if request != self._told:
            self._told = request
            self.post_message(self.Changed(request))

    def _calibration(self) -> str | None:
        field = "imatrix" if self._chosen("method") == _QUANTIZE else "calibration"
        source = self._chosen(field)
        return {_OWN: OWN_ANSWERS, _NONE: None}.get(source, self._written("text"))

    def _show_fields(self) -> None:
        """Those that the method and the other choices have a use for."""
        request, method = self.request, self._chosen("method")
        prunes = request.method is not None
        shown = {
            "amount": prunes,
            "criterion": request.method is Method.DEPTH and request.unit is not AmountUnit.NAMED,
            "importance": request.method is Method.LLM_PRUNER,
            "structure": request.method in (Method.FLAP, Method.LLM_PRUNER),
            "protect": prunes and request.unit is not AmountUnit.NAMED,
            "repair": prunes,
            "calibration": prunes,
            "imatrix": method == _QUANTIZE,
            "text": request.calibration is not None and request.calibration != OWN_ANSWERS,
            "tokens": request.calibration is not None,
        }
        for name, display in shown.items():
            self.query_one(f"#field-{name}").display = display

    def _written(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value

    def _chosen(self, name: str) -> str:
        return str(self.query_one(f"#{name}", Select).value)


def _select(name: str, options: Sequence[tuple[str, str]]) -> Select[str]:
    return Select(options, allow_blank=False, id=name, compact=True)
