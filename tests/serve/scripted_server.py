"""`edgespec` whose server starts scripted engines: for tests that are about HTTP."""

import os
import sys

from edgespec.cli import main, serve
from edgespec.serve.connection import BoundConnection

serve.ENGINE_COMMAND = (sys.executable, "-P", "-m", "tests.serve.scripted_engine")  # type: ignore[misc]
BoundConnection.unread_s = float(os.environ.get("SCRIPT_UNREAD_S", BoundConnection.unread_s))
if __name__ == "__main__":
    sys.exit(main())
