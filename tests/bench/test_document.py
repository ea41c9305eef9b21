import json
import math
from pathlib import Path
from typing import Any

import pytest

from edgespec.bench.document import from_json, to_document, to_json
from edgespec.bench.result import Audit, BenchResult, Difference
from edgespec.bench.summary import summarize_arm
from edgespec.bench.verdict import verdict
from edgespec.errors import ConfigError
from tests.bench.runs import fixed_run, run, sample

DOC = Path(__file__).resolve().parents[2] / "docs" / "bench-json.md"
FREE_FORM = {
    "env",
    "settings",
    "geomean_speedup",
    "categories",
    "by_category",
    "by_copying",
    "t_d_s",
    "t_v_s",
}
"""Objects whose keys are names of arms, drafts, categories or numbers, not fields."""


def fields_of(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(fields_of, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    names = set(value)
    for key, item in value.items():
        if key in FREE_FORM and isinstance(item, dict):
            names = names.union(*map(fields_of, item.values()))
        else:
            names |= fields_of(item)
    return names


def single_answer_run() -> BenchResult:
    plain = [sample(10.0)]
    fast = [sample(12.0)]
    return run(summarize_arm("plain", None, plain, plain), summarize_arm("ngram", None, fast, plain))


def test_a_run_survives_the_way_to_json_and_back() -> None:
    assert from_json(to_json(run())) == run()
    assert to_json(from_json(to_json(run()))) == to_json(run())
    assert from_json(to_json(fixed_run())) == fixed_run()


def test_the_contract_holds_the_fields_that_other_programs_read() -> None:
    document = json.loads(to_json(run()))
    assert document["schema"] == "edgespec.bench/1"
    assert document["target"] == "big-1.5b"
    assert document["geomean_speedup"] == {a["name"]: a["speedup"] for a in document["arms"]}
    assert document["geomean_speedup"]["plain"] == 1.0
    assert document["calibration"] == {
        "t_d_s": {"small-0.5b": 0.02},
        "t_v_s": {"1": 0.1, "2": 0.18, "4": 0.21},
    }
    assert document["audit"]["compared"] == 18
    assert document["audit"]["identical"] == 17
    assert document["audit"]["failed"] is False
    assert document["audit"]["first_differences"][0]["logit_gap"] == 0.01
    wanted = {
        "name", "draft", "tok_per_s", "tok_per_s_sd", "speedup", "speedup_sd", "acceptance", "mean_accepted_len",
        "ttft_s", "prompt_tok_per_s", "peak_memory_bytes", "by_category", "samples",
    }  # fmt: skip
    for arm in document["arms"]:
        assert wanted <= set(arm)
        figures = {"tok_per_s", "speedup", "speedup_low", "speedup_high"}
        assert set(arm["by_category"]["edit"]) == set(arm["by_copying"]["copying"]) == figures
    assert document["categories"] == {
        "chat": {"copied_share": 0.0, "copies": False},
        "edit": {"copied_share": pytest.approx(80 / 101), "copies": True},
    }
    assert document["regret"] is None


def test_the_regret_stands_in_the_document_of_a_run_with_fixed_lengths() -> None:
    regret = to_document(fixed_run(auto_factor=1.25))["regret"]
    assert (regret["best_fixed"], regret["draft_length"]) == ("fixed-2", 2)
    assert regret["regret"] == pytest.approx(-0.2)
    assert set(regret) == {
        "best_fixed", "draft_length", "regret", "regret_sd", "regret_low", "regret_high"
    }  # fmt: skip


def test_every_field_of_a_real_document_stands_in_the_documentation() -> None:
    text = DOC.read_text(encoding="utf-8")
    fields = fields_of(to_document(fixed_run()))
    assert {"schema", "tok_per_s", "accepted_per_position", "logit_gap", "t_v_s"} <= fields
    assert {name for name in fields if f"`{name}`" not in text and f'"{name}"' not in text} == set()


def test_every_field_in_the_tables_of_the_documentation_exists() -> None:
    rows = [
        line.split("|") for line in DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    documented = {row[1].strip().strip("`") for row in rows}
    assert documented - fields_of(to_document(fixed_run())) == set()


def test_an_unknown_number_is_null_and_comes_back_unknown() -> None:
    text = to_json(single_answer_run())
    assert "NaN" not in text
    assert json.loads(text)["arms"][1]["speedup_sd"] is None
    assert math.isnan(from_json(text).arms[1].speedup_sd)


def test_an_endless_gap_is_null_and_no_illegal_number() -> None:
    difference = Difference("auto", "chat-1", 0, 3, 1, 2, math.inf, True)
    document = json.loads(to_json(run(audit=Audit(1, 0, (difference,)))))
    assert document["audit"]["first_differences"][0]["logit_gap"] is None
    assert document["audit"]["failed"] is True


def test_control_characters_in_names_stay_escaped() -> None:
    text = to_json(run(target="evil\x1b[31m\x9b\u202ename"))
    assert text.isascii()
    assert "\x1b" not in text
    assert from_json(text).target == "evil\x1b[31m\x9b\u202ename"


def test_a_field_of_a_later_version_is_skipped() -> None:
    document = to_document(run())
    document["weather"] = "fine"
    document["arms"][0]["colour"] = "blue"
    assert from_json(json.dumps(document)) == run()


def test_a_run_of_an_earlier_version_lacks_what_was_added_since_and_is_read() -> None:
    document = to_document(run())
    del document["complete"], document["verdict"]
    del document["categories"], document["regret"]
    added = ("note", "draft_length", "by_copying", "speedup_low", "speedup_high", "thought_share")
    for arm in document["arms"]:
        for name in added:
            del arm[name]
        for figures in arm["by_category"].values():
            del figures["speedup_low"], figures["speedup_high"]
        for one in arm["samples"]:
            del one["copied_n"], one["thought_n"]
    old = from_json(json.dumps(document))
    assert isinstance(old, BenchResult)
    assert [arm.speedup for arm in old.arms] == [arm.speedup for arm in run().arms]
    assert {one.copied_n for arm in old.arms for one in arm.samples} == {None}
    assert to_document(old)["categories"]["edit"] == {"copied_share": None, "copies": None}
    assert verdict(old) == verdict(run())


def damaged(change: str) -> str:
    document = to_document(run())
    if change == "missing":
        del document["arms"][1]["samples"][0]["tokens"]
    elif change == "kind":
        document["arms"][0]["tok_per_s"] = "fast"
    elif change == "boolean":
        document["audit"]["compared"] = True
    elif change == "pair":
        document["arms"][1]["samples"][0]["accepted_per_position"] = [[1]]
    elif change == "key":
        document["calibration"]["t_v_s"] = {"many": 1.0}
    elif change == "shape":
        document["arms"] = {}
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("missing", r"result\.arms\[1\]\.samples\[0\] lacks tokens"),
        ("kind", r"result\.arms\[0\]\.tok_per_s is 'fast', not a number"),
        ("boolean", r"result\.audit\.compared is True, not a whole number"),
        ("pair", r"accepted_per_position\[0\] has 1 values, not 2"),
        ("key", r"result\.calibration\.t_v_s has the key 'many', not a whole number"),
        ("shape", r"result\.arms is \{\}, not a list"),
    ],
)
def test_damage_is_named_with_its_place(change: str, where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        from_json(damaged(change))


def test_other_files_are_refused_and_other_versions_explained() -> None:
    with pytest.raises(ConfigError, match="not JSON"):
        from_json('{"schema": ')
    with pytest.raises(ConfigError, match="not a JSON object"):
        from_json("[]")
    with pytest.raises(ConfigError, match="None") as foreign:
        from_json("{}")
    assert foreign.value.hint == ""
    with pytest.raises(ConfigError, match=r"edgespec\.bench/2") as later:
        from_json('{"schema": "edgespec.bench/2"}')
    assert "another version" in later.value.hint


def test_files_of_earlier_versions_call_plain_decoding_by_another_name() -> None:
    document = json.loads(to_json(run()))
    assert document["arms"][0]["name"] == "plain"
    document["arms"][0]["name"] = "vanilla"
    difference = document["audit"]["first_differences"][0]
    difference["vanilla_token"] = difference.pop("plain_token")
    assert from_json(json.dumps(document)) == run()


@pytest.mark.parametrize("audit", [None, [], {"first_differences": 3}, {"first_differences": [3]}])
def test_a_damaged_audit_is_named(audit: object) -> None:
    document = {**json.loads(to_json(run())), "audit": audit}
    with pytest.raises(ConfigError, match="audit"):
        from_json(json.dumps(document))
