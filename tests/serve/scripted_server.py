"""`edgespec` whose server starts scripted engines: for tests that are about HTTP."""

import os
import sys

from edgespec.cli import main, serve
from edgespec.serve import answers

serve.ENGINE_COMMAND = (sys.executable, "-P", "-m", "tests.serve.scripted_engine")  # type: ignore[misc]
answers.MOST_UNREAD = int(os.environ.get("SCRIPT_MOST_UNREAD", answers.MOST_UNREAD))  # type: ignore[misc]
if __name__ == "__main__":
    sys.exit(main())
