from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from edgespec.bench.compare import compare
from edgespec.bench.result import ArmResult
from edgespec.bench.store import ResultStore, new_run_id
from edgespec.bench.summary import summarize_arm
from edgespec.errors import EdgespecError, UsageError
from tests.bench.runs import answers, arm, plain_arm, run


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def test_a_saved_run_is_loaded_as_it_was(store: ResultStore) -> None:
    store.save(run())
    assert store.load("20260102-030405-1f9a") == run()


def test_saving_again_replaces_the_unfinished_run_and_leaves_one_file(store: ResultStore) -> None:
    store.save(run(plain_arm(), complete=False))
    path = store.save(run())
    assert store.load("latest").complete
    assert list(store.folder.iterdir()) == [path]


def test_a_beginning_that_fits_one_run_is_enough(store: ResultStore) -> None:
    for run_id in ("20260101-000000-aaaa", "20260102-000000-bbbb"):
        store.save(run(run_id=run_id))
    assert store.load("20260102").run_id == "20260102-000000-bbbb"
    assert store.load("latest").run_id == "20260102-000000-bbbb"


def test_a_whole_id_wins_over_a_longer_one_that_begins_so(store: ResultStore) -> None:
    store.save(run(run_id="a"))
    store.save(run(run_id="ab"))
    assert store.load("a").run_id == "a"


def test_a_beginning_that_fits_several_names_them(store: ResultStore) -> None:
    for run_id in ("20260101-000000-aaaa", "20260101-000000-bbbb"):
        store.save(run(run_id=run_id))
    with pytest.raises(UsageError, match="fits 2 saved runs") as caught:
        store.load("2026")
    assert caught.value.hint == "they are: 20260101-000000-aaaa, 20260101-000000-bbbb"


@pytest.mark.parametrize("name", ["", "20260102-030405-1f8a", "../20260102-030405-1f9a"])
def test_an_unknown_name_is_a_usage_error_that_names_a_way_on(store: ResultStore, name: str) -> None:
    store.save(run())
    with pytest.raises(UsageError, match="no saved run is called") as caught:
        store.load(name)
    assert "'20260102-030405-1f9a'" in caught.value.hint


def test_an_empty_store_says_how_to_fill_it(store: ResultStore) -> None:
    assert store.entries() == ()
    for name in ("latest", "x"):
        with pytest.raises(UsageError) as caught:
            store.load(name)
        assert "edgespec bench" in caught.value.hint


def test_damaged_files_are_listed_as_damaged_and_harm_nothing(store: ResultStore) -> None:
    whole = store.save(run())
    half = whole.read_bytes()[:500]
    (store.folder / "20260301-000000-half.json").write_bytes(half)
    (store.folder / "20260302-000000-none.json").write_bytes(b"")
    (store.folder / "20260303-000000-bits.json").write_bytes(b"\xff\xfe")
    (store.folder / "notes.txt").write_text("mine", encoding="utf-8")
    (store.folder / ".hidden.json").write_text("{}", encoding="utf-8")
    (store.folder / "folder.json").mkdir()
    found = store.entries()
    assert [(e.run_id, e.result is None) for e in found] == [
        ("20260102-030405-1f9a", False),
        ("20260301-000000-half", True),
        ("20260302-000000-none", True),
        ("20260303-000000-bits", True),
    ]
    assert found[3].damage == "not UTF-8 text"
    assert store.load("latest") == run()
    with pytest.raises(EdgespecError, match="cannot be read: not a benchmark result"):
        store.load("20260301")


def test_a_run_is_deleted_damaged_or_not_and_once_is_enough(store: ResultStore) -> None:
    path = store.save(run(run_id="20260101-080000-aaaa"))
    store.save(run(run_id="20260102-080000-bbbb"))
    path.write_text("{")
    store.delete("20260101-080000-aaaa")
    store.delete("20260101-080000-aaaa")
    assert [entry.run_id for entry in store.entries()] == ["20260102-080000-bbbb"]


def test_a_run_that_cannot_be_deleted_is_an_error_with_a_way_out(store: ResultStore) -> None:
    (store.folder / "20260101-080000-aaaa.json").mkdir(parents=True)
    with pytest.raises(EdgespecError, match="cannot delete the result") as caught:
        store.delete("20260101-080000-aaaa")
    assert caught.value.hint


def test_a_folder_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EdgespecError, match="cannot save") as caught:
        ResultStore(tmp_path / "file" / "results").save(run())
    assert "EDGESPEC_HOME" in caught.value.hint


def test_a_failed_save_keeps_the_file_from_before(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(run())

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(EdgespecError, match="No space left on device"):
        store.save(run(plain_arm()))
    assert store.load("latest") == run()
    assert len(list(store.folder.iterdir())) == 1


def test_ids_sort_by_time_wherever_the_clock_stands() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert new_run_id(moment).startswith("20260102-030405-")
    east = moment.astimezone(timezone(timedelta(hours=9)))
    assert new_run_id(east).startswith("20260102-030405-")
    assert new_run_id(moment) < new_run_id(moment + timedelta(seconds=1))
    assert len({new_run_id(moment) for _ in range(20)}) > 15


def test_a_run_compared_with_itself_is_one_everywhere() -> None:
    for row in compare(run(), run()):
        assert row.tok_per_s_ratio.value == pytest.approx(1.0)
        assert row.speedup_ratio.value == pytest.approx(1.0)
        assert row.shared_prompts == 2


def test_a_faster_machine_shows_in_rates_and_not_in_speedups() -> None:
    rates = {"chat-1": (10.0, 11.0), "edit-1": (12.0, 12.5)}

    def on_machine(speed: float) -> list[ArmResult]:
        plain = answers({p: [r * speed for r in rs] for p, rs in rates.items()})
        fast = answers({p: [r * speed * 1.5 for r in rs] for p, rs in rates.items()})
        return [summarize_arm("plain", None, plain, plain), summarize_arm("auto", None, fast, plain)]

    rows = compare(run(*on_machine(1.0)), run(*on_machine(2.0)))
    assert [row.name for row in rows] == ["plain", "auto"]
    for row in rows:
        assert row.tok_per_s_ratio.value == pytest.approx(2.0)
        assert row.speedup_ratio.value == pytest.approx(1.0)


def test_errors_of_two_speedups_add_in_quadrature() -> None:
    row = compare(run(), run())[3]
    assert row.after is not None
    relative = row.after.speedup_sd / row.after.speedup
    assert row.speedup_ratio.sd == pytest.approx(relative * 2**0.5)


def test_an_arm_that_only_one_run_has_and_runs_without_a_shared_prompt_have_no_ratio() -> None:
    other = answers({"code-9": (10.0, 10.0)})
    strange = run(summarize_arm("plain", None, other, other), arm("ngram", {"chat-1": 1.0, "edit-1": 1.0}))
    rows = {row.name: row for row in compare(run(), strange)}
    assert rows["auto"].after is None
    assert rows["auto"].tok_per_s_ratio.value != rows["auto"].tok_per_s_ratio.value
    assert rows["plain"].shared_prompts == 0
    assert rows["plain"].tok_per_s_ratio.value != rows["plain"].tok_per_s_ratio.value
