"""`edgespec` whose server gives up on an engine within seconds; with SCRIPT set, on a scripted one."""

import os
import sys

from edgespec.cli import main, serve
from edgespec.serve import watchdog
from tests.serve.scripted_engine import IMPATIENT_SILENT_S, IMPATIENT_STUCK_S

watchdog.SILENT_S = IMPATIENT_SILENT_S
watchdog.STUCK_S = IMPATIENT_STUCK_S
if os.environ.get("SCRIPT"):
    serve.ENGINE_COMMAND = (sys.executable, "-P", "-m", "tests.serve.scripted_engine")  # type: ignore[misc]
if __name__ == "__main__":
    sys.exit(main())
