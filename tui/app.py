"""The app: its modes and keys, and what all of its screens are given. Nothing that it shows imports it."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.events import Click
from textual.filter import LineFilter
from textual.screen import ModalScreen, Screen, SystemModalScreen
from textual.widgets import Button

from edgespec.decode.policy import Mode
from edgespec.errors import EdgespecError
from edgespec.session.settings import EngineSettings
from edgespec.text import plain_text
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import OpenPair, RequestFailed
from edgespec.worker.remote.worker import RemoteWorker
from tui.bench.screen import BenchScreen
from tui.chat.prompt_input import PromptInput
from tui.chat.screen import ChatScreen
from tui.chat.slash import SLASH_COMMANDS
from tui.common.ask import LeaveScreen
from tui.common.clipboard import Copied, copy_out
from tui.common.contrast import ContrastFilter
from tui.common.help import HelpScreen
from tui.common.logs import LogScreen
from tui.common.mode_screen import ModeScreen
from tui.common.narrow import NARROW_COLUMNS
from tui.common.setting_labels import with_labels
from tui.common.settings_screen import SettingsScreen
from tui.common.theme import EDGESPEC_THEME
from tui.models.screen import ModelsScreen
from tui.race.screen import RaceScreen
from tui.services.engine_client import EngineClient
from tui.services.job_runner import JobRunner
from tui.services.launch import Launch, ScreenName, WorkerFactory
from tui.services.messages import ModelsChanged, RunsChanged, WorkerReported
from tui.services.settings import AppSettings, save_settings
from tui.services.tools import ToolServers
from tui.workshop.screen import WorkshopScreen

_SCREENS: tuple[type[ModeScreen], ...] = (ChatScreen, RaceScreen, BenchScreen, ModelsScreen, WorkshopScreen)


def _key(key: str, action: str, title: str, tooltip: str, *, name: str, show: bool = False) -> Binding:
    return Binding(key, action, title, id=f"app.{name}", tooltip=tooltip, show=show, priority=True)


class EdgespecApp(App[int]):
    """Started by `edgespec chat` and by plain `edgespec` on a terminal. It is the `AppServices` of its screens."""

    TITLE = "edgespec"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW_COLUMNS, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        _key("f1", "help", "Help", "Keys and commands", name="help", show=True),
        _key("f2", "go('chat')", "Chat", "Talk to the model", name="chat"),
        _key("f3", "go('race')", "Race", "One prompt, plain and drafted", name="race"),
        _key("f4", "go('bench')", "Bench", "Measure, and look at runs", name="bench"),
        _key("f5", "go('models')", "Models", "Models on disk, and what fits", name="models"),
        _key("f6", "go('workshop')", "Workshop", "Prune and quantize", name="workshop"),
        _key("f7", "settings", "Settings", "Theme, keys, engine", name="settings"),
        _key("f8", "logs", "Log", "What llama.cpp says", name="logs"),
        _key("ctrl+q", "quit", "Quit", "Quit; nothing is lost", name="quit", show=True),
        # Not before the widgets: where something is selected, this key copies it.
        Binding(
            "ctrl+c",
            "interrupt",
            "Stop, clear or leave",
            id="app.interrupt",
            tooltip="Copy the selection, or stop, clear, leave",
            show=False,
        ),
    ]

    def __init__(
        self,
        launch: Launch | None = None,
        settings: AppSettings | None = None,
        make_worker: WorkerFactory = WorkerProcess,
    ) -> None:
        super().__init__()
        self.launch = launch or Launch()
        self.settings = settings or AppSettings()
        self._contrast = ContrastFilter()
        server = self.launch.server
        # Work beside the chat is done on this machine, whoever answers.
        make_engine = partial(RemoteWorker, server) if server else make_worker
        self.engine = EngineClient(make_engine, finds_first=server is None)
        self.jobs = JobRunner(make_worker)
        self.tools = ToolServers()
        for screen in _SCREENS:
            self.add_mode(screen.NAME, partial(screen, self))

    def get_driver_class(self) -> type[Driver]:
        """Of a terminal that may go, or what Textual takes in a browser and on Windows."""
        found = super().get_driver_class()
        if sys.platform == "win32":
            return found
        from textual.drivers.linux_driver import LinuxDriver

        from tui.terminal_driver import TerminalDriver

        return TerminalDriver if found is LinuxDriver else found

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and last of all the one that keeps text readable."""
        return [*super().get_line_filters(), self._contrast]

    def on_click(self, event: Click) -> None:
        """Beside a list or a text it is Esc, which a phone has no key for; a form has a button for that, and is not lost by a tap."""
        screen = self.screen
        is_own = isinstance(screen, ModalScreen) and not isinstance(screen, SystemModalScreen)
        if is_own and event.widget is screen and not screen.query(Button):
            self.simulate_key("escape")

    def on_mount(self) -> None:
        """Takes theme and keys from the settings, and opens the first screen."""
        self.register_theme(EDGESPEC_THEME)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else "edgespec"
        self.set_keymap(dict(self.settings.keys))
        self.engine.subscribe(self, RequestFailed)
        self.go(self.launch.screen, with_=self.launch.bench_job)

    async def on_unmount(self) -> None:
        """Ends the worker processes; what was learnt is kept."""
        await self.tools.close()
        await self.jobs.close()
        await self.engine.close()

    # What screens may ask for.

    def engine_settings(self) -> EngineSettings:
        """Of the command line, or of the app."""
        return self.launch.engine or self.settings.engine()

    def open_engine(self, target: str | None = None, mode: Mode | None = None) -> None:
        """Loads a pair in a new process: another target, or what was asked for before; drafted for in some way.

        What is loaded stays where it is not found.
        """
        if target is not None:
            self.launch = self.launch.with_target(target)
        launch = self.launch
        self.engine.open(OpenPair(launch.target, launch.draft, self.engine_settings(), launch.offline, mode))

    @on(WorkerReported)
    def _engine_failed(self) -> None:
        """What could not be opened is not asked for again."""
        if (request := self.engine.request) is not None:
            self.launch = replace(self.launch, target=request.target, draft=request.draft)

    def change_settings(self, settings: AppSettings) -> None:
        """Takes and keeps other settings; those of the engine hold from its next start on."""
        before, self.settings = self.settings, settings
        self.theme = settings.theme
        self.set_keymap(dict(settings.keys))
        try:
            save_settings(settings, before)
        except EdgespecError as error:
            self.tell_error(error)

    def go(self, screen: ScreenName, with_: object = None) -> None:
        """Shows another screen, and gives it what it shall work on."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_mode(screen)
        shown = self.screen
        if with_ is not None and isinstance(shown, ModeScreen):
            shown.call_later(shown.receive, with_)  # a new screen makes its widgets first

    def tell_error(self, error: EdgespecError) -> None:
        """In a corner: what is wrong, and the way out."""
        text = with_labels(f"{error.message}\n{error.hint}".strip())
        self.notify(plain_text(text), severity="error", markup=False, timeout=10)

    def copy_to_clipboard(self, text: str) -> None:
        """Copies a text in every way that may work, and says which did."""
        super().copy_to_clipboard(text)
        self.run_worker(self._tell_copied(text), group="clipboard", exclusive=True)

    async def _tell_copied(self, text: str) -> None:
        if self.is_web:  # the page hands it on
            copied = Copied("copied to the browser's clipboard")
        else:
            copied = await asyncio.to_thread(copy_out, text)
        shown = self.screen
        if copied.is_sure and isinstance(shown, ModeScreen):
            shown.tell(copied.said)
        else:
            self.notify(plain_text(copied.said), markup=False, timeout=10)

    def models_changed(self) -> None:
        """Tells every screen that lists models."""
        for screen in self.all_screens():
            screen.post_message(ModelsChanged())

    def runs_changed(self) -> None:
        """Tells every screen that lists runs."""
        for screen in self.all_screens():
            screen.post_message(RunsChanged())

    # Keys, and the palette.

    def action_go(self, name: ScreenName) -> None:
        """Shows another screen."""
        self.go(name)

    def action_help(self) -> None:
        """Keys and commands."""
        if not isinstance(self.screen, HelpScreen):
            commands = [(command.usage, command.help) for command in SLASH_COMMANDS.values()]
            # Of the app's own, one is hidden by what fields do with its key.
            keys = (*PromptInput.BINDINGS, *self.BINDINGS)
            self.push_screen(HelpScreen(self.screen, keys, commands))

    def action_interrupt(self) -> None:
        """Ends what the screen is doing; where it does nothing, asks whether to leave."""
        shown = self.screen
        if not (isinstance(shown, ModeScreen) and shown.interrupt()):
            self.push_screen(LeaveScreen(), lambda leaves: self.exit() if leaves else None)

    def action_settings(self) -> None:
        """Theme, keys, engine."""
        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen(self))

    def action_logs(self) -> None:
        """What llama.cpp says."""
        if not isinstance(self.screen, LogScreen):
            self.push_screen(LogScreen(self.engine))

    def watch_theme(self, theme: str) -> None:
        """A theme that was chosen in the palette is kept, too."""
        if self.is_running and theme != self.settings.theme:
            self.change_settings(replace(self.settings, theme=theme))

    def all_screens(self) -> Iterable[Screen[Any]]:
        """Those that have been opened."""
        return [screen for stack in self._screen_stacks.values() for screen in stack]

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action that the screen knows now, beside Textual's own commands."""
        seen = set()
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if binding.id and enabled and binding.id not in seen and not binding.id.startswith("prompt."):
                seen.add(binding.id)
                key = self.get_key_display(binding)
                yield SystemCommand(
                    f"{binding.description} ({key})",
                    tooltip or binding.tooltip,
                    _runner(self, binding.action),
                )
        yield from (
            command
            for command in super().get_system_commands(screen)
            if command.title not in ("Quit", "Keys")
        )


def _runner(app: EdgespecApp, action: str) -> Callable[[], None]:
    def run() -> None:
        app.call_later(app.screen.run_action, action)

    return run


def run_app(launch: Launch, settings: AppSettings) -> int:
    """Runs the app until it is left; returns the exit code."""
    app = EdgespecApp(launch, settings)
    code = app.run()
    return app.return_code or code or 0
