"""A file in a message: one line, which opens."""

from textual.widgets import Collapsible, Static

from edgespec.text import human_bytes, one_line, plain_text
from tui.chat.attachments import Attachment


class FileFold(Collapsible):
    """A line with its name and size; Enter or a click shows it as the model sees it."""

    def __init__(self, attachment: Attachment, text: str) -> None:
        body = Static(plain_text(text.strip()), markup=False)
        super().__init__(body, title=describe_attachment(attachment), classes="file")


def describe_attachment(attachment: Attachment) -> str:
    """The line in words; a server may not tell how many tokens there are."""
    tokens = f" · {attachment.token_n:,} tokens" if attachment.token_n else ""
    return f"{one_line(attachment.name)} · {human_bytes(attachment.size_bytes)}{tokens}".replace("[", "\\[")
