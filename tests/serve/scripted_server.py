"""`edgespec` whose server starts scripted engines: for tests that are about HTTP."""

import sys

from edgespec.cli import main, serve

serve.ENGINE_COMMAND = (sys.executable, "-P", "-m", "tests.serve.scripted_engine")  # type: ignore[misc]
if __name__ == "__main__":
    sys.exit(main())
