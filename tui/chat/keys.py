"""The keys of the chat. Each does one action, which a slash command or the palette can do as well."""

from typing import Final

from textual.binding import Binding, BindingType

NEWEST_ID: Final = "chat.newest"


def _key(key: str, action: str, title: str, tooltip: str, *, name: str, shown: bool = False) -> Binding:
    return Binding(key, action, title, id=f"chat.{name}", tooltip=tooltip, show=shown)


PICK_KEY: Final = _key(
    "ctrl+y", "screen.copy", "Pick & copy", "Pick an answer or a block of code to copy", name="pick"
)
CHAT_KEYS: Final[list[BindingType]] = [
    _key("escape", "stop", "Stop", "Stop the answer; the partial answer is kept", name="stop", shown=True),
    _key("ctrl+s", "next_mode", "Mode", "Speculation: auto, model, n-gram, off", name="mode", shown=True),
    _key("ctrl+t", "tint", "Tint", "Show which tokens came from the draft", name="tint", shown=True),
    _key("ctrl+r", "regenerate", "Again", "Answer the last message again", name="regenerate", shown=True),
    _key("ctrl+down", "continue", "Go on", "Let an answer that was cut go on", name="continue"),
    _key("ctrl+up", "edit_last", "Edit", "Change the last message", name="edit"),
    Binding(
        "alt+left",
        "version(-1)",
        "Version before",
        id="chat.version_before",
        tooltip="Show the version before",
        show=False,
        priority=True,
    ),
    Binding(
        "alt+right",
        "version(1)",
        "Next version",
        id="chat.version_next",
        tooltip="Show the next version",
        show=False,
        priority=True,
    ),
    Binding(
        "alt+up",
        "point(-1)",
        "Versions above",
        id="chat.versions_above",
        tooltip="Go to a turn above with several versions",
        show=False,
        priority=True,
    ),
    Binding(
        "alt+down",
        "point(1)",
        "Versions below",
        id="chat.versions_below",
        tooltip="Go to a turn below with several versions",
        show=False,
        priority=True,
    ),
    _key("ctrl+g", "editor", "$EDITOR", "Write the message in $EDITOR", name="editor"),
    _key("ctrl+n", "new", "New", "Begin another conversation", name="new", shown=True),
    _key("ctrl+o", "open_saved", "Open", "The saved conversations", name="open", shown=True),
    _key("alt+t", "new_tab", "New tab", "Open another conversation in a tab of its own", name="new_tab"),
    Binding(
        "ctrl+pagedown",
        "step_tab(1)",
        "Next tab",
        id="chat.next_tab",
        tooltip="Go to the next tab",
        show=False,
        priority=True,
    ),
    Binding(
        "ctrl+pageup",
        "step_tab(-1)",
        "Tab before",
        id="chat.tab_before",
        tooltip="Go to the tab before",
        show=False,
        priority=True,
    ),
    _key("alt+w", "close_tab", "Close tab", "Close the tab; its conversation is kept", name="close_tab"),
    _key("ctrl+b", "rail", "Charts", "Show or hide the charts", name="rail"),
    _key("f9", "draft", "Draft", "Choose another draft model", name="draft"),
    _key("f10", "system", "System", "Choose or write the system prompt", name="system"),
    _key("ctrl+f10", "sampling", "Sampling", "Change how tokens are picked", name="sampling"),
    _key("f11", "copy_last", "Copy", "Copy the last answer", name="copy"),
    PICK_KEY,
    _key("alt+z", "wrap", "Wrap code", "Wrap long lines of code, or scroll them", name="wrap"),
    _key("f12", "export", "Export", "Write the chat as Markdown", name="export"),
    _key("ctrl+l", "clear", "Delete", "Delete this conversation, after a question", name="clear"),
    _key(
        "ctrl+f5",
        "restart_engine",
        "Restart engine",
        "Load the models again in a new process",
        name="restart",
    ),
    _key("ctrl+end,end", "newest", "Newest", "Show the newest text and follow it", name="newest"),
    Binding("pageup", "page(-1)", "Up", id="chat.up", tooltip="Scroll back", show=False, priority=True),
    Binding("pagedown", "page(1)", "Down", id="chat.down", tooltip="Scroll on", show=False, priority=True),
]
