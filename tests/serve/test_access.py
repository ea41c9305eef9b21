"""Who gets in: keys, names, origins."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.processes import listening_addresses
from tests.conftest import Outcome
from tests.serve.served import SCRIPTED, Server

GOOD = {"messages": [{"role": "user", "content": "one"}], "max_tokens": 2}
CHAT = "/v1/chat/completions"


@pytest.fixture
def locked(start: Callable[..., Server], script_file: Path, tmp_path: Path) -> Server:
    """A server with three keys, to which pages of one site have access."""
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n\n  sk-zwei-ü  \n", encoding="utf-8")
    options = ("--api-key", keys, "--cors", "http://editor.example")
    return start(script_file, *options, module=SCRIPTED, EDGESPEC_API_KEY="sk-env").wait_ready()


def test_a_key_opens_the_server_in_both_protocols_ways(locked: Server) -> None:
    assert locked.ask("/health").status == 200
    for headers in (
        {},
        {"Authorization": "Bearer sk-"},
        {"Authorization": "sk-one"},
        {"x-api-key": "sk-one2"},
    ):
        for path, body in ((CHAT, GOOD), ("/v1/models", None), ("/metrics", None), ("/nothing", None)):
            reply = locked.ask(path, body, headers=headers)
            assert reply.status == 401
            assert reply.error["type"] == "authentication_error"
    assert locked.ask("/v1/messages", GOOD).json["type"] == "error"
    for key in ("sk-one", "sk-env", "sk-zwei-ü".encode().decode("latin-1")):
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"authorization": f"bearer {key}"},
            {"X-Api-Key": key},
        ):
            assert locked.ask(CHAT, GOOD, headers=headers).status == 200
    # Who has a key may have found the server by any name.
    named = {"Authorization": "Bearer sk-one", "Host": "models.example"}
    assert locked.ask(CHAT, GOOD, headers=named).status == 200


def test_a_site_with_access_gets_it_and_another_does_not(locked: Server) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    reply = locked.ask(CHAT, method="OPTIONS", headers={"Origin": "http://editor.example", **asked})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "http://editor.example"
    assert "authorization" in reply.headers["access-control-allow-headers"].lower()
    key = {"Authorization": "Bearer sk-one"}
    reply = locked.ask(CHAT, GOOD, headers={"Origin": "http://editor.example", **key})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "http://editor.example"
    reply = locked.ask(CHAT, method="OPTIONS", headers={"Origin": "http://evil.example", **asked})
    assert "access-control-allow-origin" not in reply.headers
    assert locked.ask(CHAT, GOOD, headers={"Origin": "http://evil.example", **key}).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8080"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"Host": "192.168.1.7"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://[evil"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
    ids=str,
)
def test_pages_of_other_sites_and_names_of_other_machines_are_refused(
    scripted: Server, headers: dict[str, str], status: int
) -> None:
    reply = scripted.ask(CHAT, GOOD, headers=headers)
    assert reply.status == status
    if status == 403:
        assert reply.error["type"] == "permission_error"
        assert "access-control-allow-origin" not in reply.headers


def test_it_listens_on_this_machine_alone(scripted: Server) -> None:
    assert listening_addresses(scripted.process.pid) == {("127.0.0.1", scripted.port)}


def test_an_address_that_others_reach_wants_a_key(run_cli: Callable[..., Outcome], tmp_path: Path) -> None:
    ran = run_cli("serve", "--host", "0.0.0.0")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "edgespec: 0.0.0.0 can be reached by other machines, and there is no key. "
        "Give a file of keys with --api-key, or say --allow-without-key\n"
    )
    empty = tmp_path / "keys"
    empty.write_text("\n")
    ran = run_cli("serve", "--api-key", empty)
    assert (ran.code, ran.err) == (2, f"edgespec: {empty} holds no key. Write one a line\n")


def test_prompts_are_written_down_only_where_that_is_asked_for(
    start: Callable[..., Server], script_file: Path
) -> None:
    secret = {"messages": [{"role": "user", "content": "swordfish"}], "max_tokens": 1}
    for options, told in ((("-vv",), False), (("--log-prompts",), True)):
        server = start(script_file, *options, module=SCRIPTED).wait_ready()
        assert server.ask(CHAT, secret).status == 200
        server.end()
        while server.read_line():
            pass
        assert any("swordfish" in line for line in server.lines) is told
