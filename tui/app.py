"""The app: its screens, what all of them share, and the one engine that chats."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from edgespec.bench.result import BenchResult
from edgespec.errors import EdgespecError
from edgespec.session.settings import EngineSettings
from edgespec.text import plain_text
from edgespec.worker.process import WorkerProcess
from edgespec.worker.protocol import OpenPair
from tui.bench.screen import BenchScreen
from tui.chat.screen import ChatScreen
from tui.common.help import HelpScreen
from tui.common.logs import LogScreen
from tui.common.settings_screen import SettingsScreen
from tui.common.theme import EDGESPEC_THEME
from tui.models.screen import ModelsScreen
from tui.race.screen import RaceScreen
from tui.services.engine_client import EngineRoom
from tui.services.job_runner import JobRoom
from tui.services.launch import Launch, WorkerFactory
from tui.services.messages import ModelsChanged, RunsChanged
from tui.services.settings import AppSettings, save_settings
from tui.workshop.screen import WorkshopScreen


class EdgespecApp(App[int]):
    """Started by `edgespec chat` and by plain `edgespec` on a terminal."""

    TITLE = "edgespec"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "chat": ChatScreen,
        "race": RaceScreen,
        "bench": BenchScreen,
        "models": ModelsScreen,
        "workshop": WorkshopScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Help", id="app.help", tooltip="Keys and commands", priority=True),
        Binding(
            "f2", "go('chat')", "Chat", id="app.chat", tooltip="Talk to the model", show=False, priority=True
        ),
        Binding(
            "f3",
            "go('race')",
            "Race",
            id="app.race",
            tooltip="One prompt, plain and drafted",
            show=False,
            priority=True,
        ),
        Binding(
            "f4",
            "go('bench')",
            "Bench",
            id="app.bench",
            tooltip="Measure, and look at runs",
            show=False,
            priority=True,
        ),
        Binding(
            "f5",
            "go('models')",
            "Models",
            id="app.models",
            tooltip="What is here and what fits",
            show=False,
            priority=True,
        ),
        Binding(
            "f6",
            "go('workshop')",
            "Workshop",
            id="app.workshop",
            tooltip="Prune and quantize",
            show=False,
            priority=True,
        ),
        Binding(
            "f7",
            "settings",
            "Settings",
            id="app.settings",
            tooltip="Theme, keys, engine",
            show=False,
            priority=True,
        ),
        Binding("f8", "logs", "Log", id="app.logs", tooltip="What llama.cpp says", show=False, priority=True),
        Binding("ctrl+q", "quit", "Quit", id="app.quit", tooltip="Leave; nothing is lost", priority=True),
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
        self.room = EngineRoom(make_worker)
        self.jobs = JobRoom(make_worker)
        """Work of the other screens, a process each."""
        self.measured: dict[str, BenchResult] = {}
        """Target -> its last race."""
        self.race_prompt = ""
        """What the race screen shall race when it is shown."""
        self.workshop_model = ""
        """Which model the workshop shall take when it is shown."""

    def on_mount(self) -> None:
        """Takes theme and keys from the settings, and opens the first screen."""
        self.register_theme(EDGESPEC_THEME)
        self.theme = self.settings.theme if self.settings.theme in self.available_themes else "edgespec"
        self.set_keymap(dict(self.settings.keys))
        self.switch_mode(self.launch.screen)

    async def on_unmount(self) -> None:
        """Ends the worker processes; what was learnt is kept."""
        await self.jobs.close()
        await self.room.close()

    def now_text(self) -> str:
        """The time, for what is saved."""
        return datetime.now(UTC).isoformat(timespec="seconds")

    # The engine.

    def open_engine(self, target: str | None = None) -> None:
        """Loads a pair in a new process: another target, or what was asked for before."""
        if target is not None:
            self.launch = self.launch.with_target(target)
        self._serve_engine()

    @work(exclusive=True, group="engine", exit_on_error=False)
    async def _serve_engine(self) -> None:
        launch = self.launch
        await self.room.serve(OpenPair(launch.target, launch.draft, self.engine_settings(), launch.offline))

    def engine_settings(self) -> EngineSettings:
        """Of the command line, or of the app."""
        return self.launch.engine or self.settings.engine()

    async def free_machine(self) -> None:
        """Unloads the chat's models: a measurement wants the machine for itself."""
        await self.room.close()
        self.show_engine()

    def show_engine(self) -> None:
        """What is loaded, on the screen that is shown."""
        screen = self.screen
        if hasattr(screen, "show_engine"):
            screen.show_engine()

    # What all screens can do.

    def action_go(self, name: str) -> None:
        """Shows another screen."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_mode(name)

    def race(self, prompt: str) -> None:
        """Shows the race, with that prompt in its line."""
        self.race_prompt = prompt
        self.action_go("race")

    def race_measured(self, result: BenchResult) -> None:
        """What a race measured is worth more in receipts than an estimate."""
        self.measured[result.target] = result

    def action_help(self) -> None:
        """Keys and commands."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_settings(self) -> None:
        """Theme, keys, engine."""
        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen())

    def action_logs(self) -> None:
        """What llama.cpp says."""
        if not isinstance(self.screen, LogScreen):
            self.push_screen(LogScreen())

    def change_settings(self, settings: AppSettings) -> None:
        """Takes and keeps other settings; those of the engine hold from its next start on."""
        self.settings = settings
        self.theme = settings.theme
        self.set_keymap(dict(settings.keys))
        try:
            save_settings(settings)
        except EdgespecError as error:
            self.tell_error(error)

    def watch_theme(self, theme: str) -> None:
        """A theme that was chosen in the palette is kept, too."""
        if self.is_running and theme != self.settings.theme:
            self.change_settings(replace(self.settings, theme=theme))

    def tell_error(self, error: EdgespecError) -> None:
        """In a corner: what is wrong, and the way out."""
        self.notify(
            plain_text(f"{error.message}\n{error.hint}".strip()), severity="error", markup=False, timeout=10
        )

    def models_changed(self) -> None:
        """Tells every screen that lists models."""
        for screen in self.all_screens():
            screen.post_message(ModelsChanged())

    def runs_changed(self) -> None:
        """Tells every screen that lists runs."""
        for screen in self.all_screens():
            screen.post_message(RunsChanged())

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
