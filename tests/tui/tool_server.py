"""A real MCP server on stdin and stdout, as small as one can be. Started by the app's tests, a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("tiny")


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return f"the sum is {a + b}"


@server.tool()
def story(lines: int) -> str:
    """Tells a long story."""
    return "\n".join(f"line {number} of a story" for number in range(lines))


@server.tool()
def end() -> str:
    """Ends the server."""
    print("there is no more paper", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def hang() -> str:
    """Answers nothing for a long time."""
    time.sleep(600)
    return "late"


if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
server.run()
