"""Commands that begin with a slash: what there is, and how a line is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from edgespec.errors import UsageError


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One command; `action` names the method of the chat screen that does it."""

    name: str
    argument: str
    """What comes after it, empty for nothing; in brackets when it may be left out."""
    help: str

    @property
    def usage(self) -> str:
        """As it is typed."""
        return f"/{self.name} {self.argument}".strip()


_ALL = (
    SlashCommand("help", "", "Show keys and commands"),
    SlashCommand("new", "", "Begin another conversation; this one is kept"),
    SlashCommand("open", "", "Open a saved conversation"),
    SlashCommand("clear", "", "Empty this conversation"),
    SlashCommand("system", "[TEXT]", "Set the system prompt; without a text, show it"),
    SlashCommand("regenerate", "", "Answer the last message again"),
    SlashCommand("edit", "", "Change the last message and ask again"),
    SlashCommand("editor", "", "Write the message in $EDITOR"),
    SlashCommand("model", "[NAME]", "Load another target; without a name, go to the models"),
    SlashCommand("draft", "[NAME]", "Draft with another model, or none; without a name, choose"),
    SlashCommand("mode", "[off|model|ngram|auto]", "How answers are drafted; without one, the next mode"),
    SlashCommand("tint", "", "Show or hide which tokens came from the draft"),
    SlashCommand("rail", "", "Show or hide the charts"),
    SlashCommand("copy", "", "Copy the last answer"),
    SlashCommand("export", "[FILE]", "Write the conversation as Markdown"),
    SlashCommand("race", "", "Race the last message: plain against drafts"),
    SlashCommand("restart", "", "Start the engine again"),
    SlashCommand("logs", "", "Show the native log"),
    SlashCommand("settings", "", "Change the settings"),
    SlashCommand("quit", "", "Leave; nothing is lost"),
)
SLASH_COMMANDS: Final[Mapping[str, SlashCommand]] = {command.name: command for command in _ALL}


@dataclass(frozen=True, slots=True)
class SlashLine:
    """A command with what came after it."""

    command: SlashCommand
    argument: str


def parse_slash(text: str) -> SlashLine | None:
    """Reads a message that begins with a slash; None for any other message.

    A doubled slash, or one that a path goes on from (`/usr/bin`), is no command.

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
