"""`--rpc` and `edgespec rpc-serve`: real servers on loopback, two and three processes, one of them killed."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgespec.errors import EngineError, ExitCode, UsageError
from edgespec.llama import rpc
from edgespec.llama.rpc import Endpoint, parse_endpoints
from tests.cli.processes import free_port, interrupt, needs_signals, start
from tests.conftest import RunCli
from tests.rpc_server import line_of, server, wait_until_it_listens

PROMPT = ("-p", "Name three colours and say why.", "-t", "1")


def run_process(*arguments: str | Path) -> tuple[int, str, str]:
    """In a process of its own: what is registered with llama.cpp stays registered."""
    process = start("run", *PROMPT, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out.decode(), err.decode()


def run_code(code: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_one_and_two_servers_give_the_text_of_this_machine(
    home_with_smollm2: Path, monkeypatch: pytest.MonkeyPatch
):
    # Weights that lie elsewhere are multiplied by ggml's kernels, whose sums have another order.
    monkeypatch.setenv("EDGESPEC_KERNELS", "0")
    answer = ("-n", "20", "--draft", "ngram")
    local = run_process(*answer)
    assert local[0] == 0
    assert len(local[1].split()) > 5
    with server() as (_, one), server() as (_, other):
        placed = run_process(*answer, "--stats", "--rpc", one)
        assert (placed[0], placed[1]) == (0, local[1]), placed[2]
        assert "31 of 31 layers fit on RPC0" in placed[2]
        split = run_process(*answer, "--stats", "--rpc", f"{one},{other}", "--tensor-split", "1,1")
        assert (split[0], split[1]) == (0, local[1]), split[2]
        assert "layers fit on RPC0, RPC1" in split[2]


def test_a_draft_stays_here_unless_it_names_a_server(tiny_model: Path, tiny_draft: Path):
    asked = (tiny_model, "-n", "16", "--draft", tiny_draft, "--draft-type", "as-is", "--stats")
    local = run_process(*asked)
    with server() as (_, address):
        beside = run_process(*asked, "--rpc", address)
        assert (beside[0], beside[1]) == (0, local[1]), beside[2]
        assert "tiny: 3 of 3 layers fit on RPC0" in beside[2]
        assert "tiny-draft: " not in beside[2]
        away = run_process(*asked, "--rpc", address, "--gpu-layers", "0", "--draft-device", "RPC0")
        assert (away[0], away[1]) == (0, local[1]), away[2]
        assert "tiny-draft: 3 of 3 layers fit on RPC0" in away[2]


@needs_signals
def test_a_server_that_dies_in_mid_answer_costs_the_rest_of_it_and_one_line(home_with_smollm2: Path):
    with server() as (process, address):
        asking = start("run", *PROMPT, "-n", "900", "--draft", "none", "--rpc", address)
        assert asking.stdout is not None
        first = asking.stdout.read(8)
        process.kill()
        _, err = asking.communicate(timeout=120)
    assert asking.returncode == ExitCode.FAILED
    assert len(first) == 8
    last = err.decode().strip().splitlines()[-1]
    assert last.startswith("edgespec: llama.cpp gave up: ")
    assert "Start the RPC server again" in last


def test_nobody_listening_is_one_line(run_cli: RunCli, tiny_model: Path):
    port = free_port()
    outcome = run_cli("run", tiny_model, "-p", "hi", "--draft", "none", "--rpc", f"127.0.0.1:{port}")
    assert outcome.code == ExitCode.FAILED
    assert outcome.out == ""
    assert f"no RPC server answers at 127.0.0.1:{port}" in outcome.err
    assert "edgespec rpc-serve" in outcome.err


def test_a_server_of_another_kind_is_one_line(run_cli: RunCli, tiny_model: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = "{}:{}".format(*other.getsockname())

        def answer() -> None:
            link, _ = other.accept()
            with link:
                link.recv(64)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        outcome = run_cli("run", tiny_model, "-p", "hi", "--draft", "none", "--rpc", address)
    assert (outcome.code, outcome.out) == (ExitCode.FAILED, "")
    assert f"what listens at {address} is not an RPC server" in outcome.err


def test_a_server_that_serves_somebody_else_is_one_line(
    run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rpc, "_GREETING_S", 0.5)
    with server() as (_, address):
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port))) as other:
            assert rpc._answer(other) == rpc._HELLO_ANSWER
            outcome = run_cli("run", tiny_model, "-p", "hi", "--draft", "none", "--rpc", address)
    assert (outcome.code, outcome.out) == (ExitCode.FAILED, "")
    assert f"the RPC server {address} says nothing" in outcome.err
    assert "one program at a time" in outcome.err


_OPENED = """
import sys
from pathlib import Path
from edgespec.llama.library import native_lines
from edgespec.llama.model import Model
from edgespec.llama.placement import Placement
from edgespec.llama.rpc import connect_servers, parse_endpoints
connect_servers(parse_endpoints(sys.argv[2]))
for placement in (Placement(), Placement(2)):
    lines = []
    with native_lines(lines.append), Model(Path(sys.argv[1]), placement):
        print(placement.gpu_layers, sum("using device RPC0" in line for line in lines))
"""


def test_a_model_without_layers_on_a_device_leaves_the_device_alone(tiny_model: Path):
    """Else weights of the CPU would lie in the device's buffers, and a context would be made on it."""
    with server() as (_, address):
        ran = run_code(_OPENED, tiny_model, address)
    assert (ran.stdout, ran.stderr) == ("0 0\n2 1\n", "")


_KEPT_ALIVE = """
import os, socket, sys
from pathlib import Path
import psutil
from edgespec.llama.rpc import parse_endpoints
from edgespec.session.loading import load_target
from edgespec.catalog.model_file import open_file
from edgespec.session.settings import EngineSettings
servers = parse_endpoints(sys.argv[2])
loaded = load_target(open_file("tiny", Path(sys.argv[1])), EngineSettings(rpc=servers))
for connection in psutil.Process().net_connections("tcp4"):
    if connection.raddr and connection.raddr[1] == servers[0].port:
        with socket.socket(fileno=os.dup(connection.fd)) as link:
            print("kept alive", link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0)
loaded.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the sockets of another library cannot be reached there")
def test_a_machine_that_vanishes_is_noticed(tiny_model: Path):
    # The cable cannot be pulled here; what notices it is the system, which must have been told to ask.
    with server() as (_, address):
        done = run_code(_KEPT_ALIVE, tiny_model, address)
    assert done.returncode == 0, done.stderr
    assert "kept alive True" in done.stdout
    assert "False" not in done.stdout


@pytest.mark.parametrize("text", ["box", "box:", ":50052", "box:0", "box:65536", "box:port", "::1:50052"])
def test_what_is_not_an_address_is_refused_by_name(run_cli: RunCli, tiny_model: Path, text: str):
    outcome = run_cli("run", tiny_model, "-p", "hi", "--rpc", f"127.0.0.1:1,{text}")
    assert outcome.code == ExitCode.USAGE
    assert f"--rpc '{text}' is not HOST:PORT" in outcome.err
    with pytest.raises(UsageError):
        parse_endpoints(text)


def test_addresses_are_taken_once_in_their_order():
    assert parse_endpoints(" a:1, b:2,a:1,") == (Endpoint("a", 1), Endpoint("b", 2))
    assert parse_endpoints("") == ()
    assert [Endpoint(host, 1).is_loopback for host in ("127.0.0.2", "localhost", "0.0.0.0")] == [
        True,
        True,
        False,
    ]


def test_a_port_that_is_taken_and_a_foreign_address_are_one_line(run_cli: RunCli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = run_cli("rpc-serve", "--port", str(taken.getsockname()[1]))
    assert outcome.code == ExitCode.FAILED
    assert "cannot listen on 127.0.0.1:" in outcome.err
    assert "--port" in outcome.err
    # 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    assert "cannot listen on 192.0.2.1:50052" in run_cli("rpc-serve", "--host", "192.0.2.1").err


@needs_signals
def test_off_loopback_it_warns_and_ctrl_c_ends_it():
    port = free_port()
    process = start("rpc-serve", "--host", "0.0.0.0", "--port", str(port), stdout=subprocess.DEVNULL)
    assert "listening on 0.0.0.0" in line_of(process.stderr)
    assert "warning: RPC has no password and no encryption" in line_of(process.stderr)
    wait_until_it_listens(port)
    code, _, err = interrupt(process)
    assert code == ExitCode.INTERRUPTED
    assert err.strip().splitlines()[-1] == "edgespec: interrupted"


def test_a_build_without_rpc_says_so(run_cli: RunCli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rpc.load_library(), "llama_supports_rpc", lambda: False)
    for arguments in (("rpc-serve",), ("run", tiny_model, "-p", "hi", "--rpc", "127.0.0.1:1")):
        outcome = run_cli(*arguments)
        assert outcome.code == EngineError("").exit_code
        assert "this build of llama.cpp has no RPC backend" in outcome.err
        assert "GGML_RPC=ON" in outcome.err


def test_two_threads_that_begin_together_register_a_server_once():
    code = """
import sys
from functools import partial
from edgespec.llama.devices import list_devices
from edgespec.llama.rpc import connect_servers, parse_endpoints
from tests.threads import run_together
servers = parse_endpoints(sys.argv[1])
run_together([partial(connect_servers, servers)] * 3)
print(sum(device.is_remote for device in list_devices()))
"""
    with server() as (_, address):
        ran = run_code(code, address)
    assert (ran.stdout, ran.stderr) == ("1\n", "")
