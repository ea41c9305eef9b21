"""How keys are compared, over HTTP."""

import httpx2
import pytest

from edgespec.serve import guard
from edgespec.serve.guard import Access, Guard
from tests.secrets_compared import Watched
from tests.serve.test_connection import serving, short


async def test_keys_are_compared_in_a_time_that_tells_nothing_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest, lengths = guard._digest, set[int]()

    def watched_digest(key: bytes) -> bytes:
        found = Watched(digest(key))
        lengths.add(len(found))
        return found

    monkeypatch.setattr(guard, "_digest", watched_digest)
    keys = ("sk-one", "sk-one-that-is-much-longer")
    async with serving(Guard(short, Access("127.0.0.1", keys))) as port, httpx2.AsyncClient() as client:
        for said in (*keys, "sk-", "sk-one-", "wrong", ""):
            answer = await client.get(f"http://127.0.0.1:{port}/", headers={"x-api-key": said})
            assert answer.status_code == (200 if said in keys else 401)
    assert len(lengths) == 1
