"""What a program uses: `open_pair`, a `Session` that streams tokens, and the settings of both."""

from edgespec.session.session import Session, open_pair
from edgespec.session.settings import DraftType, EngineSettings

__all__ = ["DraftType", "EngineSettings", "Session", "open_pair"]
