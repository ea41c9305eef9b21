"""Commands that begin with a slash: what there is, and how a line is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from edgespec.errors import UsageError


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One command."""

    name: str
    argument: str
    """What comes after it, empty for nothing; in brackets when it may be left out."""
    action: str
    """Of the chat screen: does it where nothing comes after it."""
    help: str

    @property
    def usage(self) -> str:
        """As it is typed."""
        return f"/{self.name} {self.argument}".strip()


_ALL = (
    SlashCommand("help", "", "app.help", "Show keys and commands"),
    SlashCommand("new", "", "new", "Begin another conversation; this one is kept"),
    SlashCommand("open", "", "open_saved", "Find and open a saved conversation"),
    SlashCommand(
        "tab",
        "[new|next|previous|close]",
        "new_tab",
        "Open another conversation beside this one; also goes to a tab by its number",
    ),
    SlashCommand("rename", "[TITLE]", "rename", "Give this conversation another title"),
    SlashCommand("pin", "", "pin", "Pin or unpin this conversation"),
    SlashCommand("delete", "", "clear", "Delete this conversation, after a question"),
    SlashCommand("clear", "", "clear", "The same as /delete"),
    SlashCommand("system", "[NAME or TEXT]", "system", "Set the system prompt; alone, choose one"),
    SlashCommand("regenerate", "", "regenerate", "Answer the last message again"),
    SlashCommand("continue", "", "continue", "Let an answer that was cut go on"),
    SlashCommand("edit", "", "edit_last", "Change the last message, or one before; what was said stays"),
    SlashCommand("branch", "", "branch", "Go another way from an earlier message"),
    SlashCommand(
        "version",
        "[next|previous]",
        "version(1)",
        "Show another version of a message or an answer, also by its number; without a word, the next",
    ),
    SlashCommand("editor", "", "editor", "Write the message in $EDITOR"),
    SlashCommand(
        "model", "[NAME]", "app.go('models')", "Load another model; without a name, open the models"
    ),
    SlashCommand("draft", "[NAME]", "draft", "Draft with another model, or none; without a name, choose"),
    SlashCommand(
        "mode", "[off|model|ngram|auto]", "next_mode", "How answers are drafted; without a mode, the next one"
    ),
    SlashCommand(
        "think",
        "[auto|on|off]",
        "next_think",
        "Whether the model thinks first; without a choice, the next one",
    ),
    SlashCommand(
        "sampling",
        "[model] [NAME NUMBER|reset]",
        "sampling",
        "How tokens are picked: temperature, top-k, top-p, min-p, penalties, seed; without a word, a form",
    ),
    SlashCommand(
        "tools",
        "[on|off]",
        "tools",
        "Let the model call tools of your MCP servers; without one, the other way",
    ),
    SlashCommand(
        "schema", "[FILE|off]", "schema", "Hold answers to a JSON schema; without a file, say which one"
    ),
    SlashCommand("thoughts", "", "thoughts", "Open or fold what the model thought"),
    SlashCommand("tint", "", "tint", "Show or hide which tokens came from the draft"),
    SlashCommand("rail", "", "rail", "Show or hide the charts"),
    SlashCommand("copy", "", "copy", "Pick an answer or a block of code to copy"),
    SlashCommand("wrap", "", "wrap", "Wrap long lines of code, or scroll them sideways"),
    SlashCommand("export", "[FILE]", "export", "Write the conversation as Markdown"),
    SlashCommand("race", "", "race_last", "Race the last message: plain against drafts"),
    SlashCommand("restart", "", "restart_engine", "Start the engine again"),
    SlashCommand("logs", "", "app.logs", "Show the native log"),
    SlashCommand("settings", "", "app.settings", "Change the settings"),
    SlashCommand("quit", "", "app.quit", "Quit; nothing is lost"),
)
SLASH_COMMANDS: Final[Mapping[str, SlashCommand]] = {command.name: command for command in _ALL}


@dataclass(frozen=True, slots=True)
class SlashLine:
    """A command with what came after it."""

    command: SlashCommand
    argument: str


def parse_slash(text: str) -> SlashLine | None:
    """Reads a message that begins with a slash; None for any other message.

    A doubled slash, or one that a path goes on from (`/usr/bin`), is not a command.

    Raises:
        UsageError: an unknown command, or an argument where none belongs.
    """
    line = text.strip()
    if not line.startswith("/") or line.startswith("//") or "\n" in line:
        return None
    name, _, argument = line[1:].partition(" ")
    if "/" in name:
        return None
    command = SLASH_COMMANDS.get(name.lower())
    if command is None:
        near = get_close_matches(name, SLASH_COMMANDS, n=1)
        raise UsageError(
            f"there is no command /{name}", f"did you mean /{near[0]}?" if near else "/help lists them"
        )
    if argument.strip() and not command.argument:
        raise UsageError(f"/{command.name} takes nothing after it", f"write {command.usage}")
    return SlashLine(command, argument.strip())


def matching_commands(text: str) -> list[SlashCommand]:
    """Commands that begin with what is written, while it is still the first word; one that is written in full comes first."""
    if not text.startswith("/") or " " in text or "\n" in text:
        return []
    written = text[1:].lower()
    fitting = [command for command in _ALL if command.name.startswith(written)]
    return sorted(fitting, key=lambda command: command.name != written)


def begun_argument(text: str) -> tuple[SlashCommand, str] | None:
    """The command whose argument is being written, and what is written of it; None elsewhere."""
    if not text.startswith("/") or "\n" in text:
        return None
    name, space, argument = text[1:].partition(" ")
    command = SLASH_COMMANDS.get(name.lower())
    return (command, argument.lstrip()) if command is not None and space and command.argument else None
