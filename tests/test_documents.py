"""JSON and TOML into values: every kind of field, and an error that names the place, the value and the way out."""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest

from edgespec.documents import FromKey, build, parse_json, read_json, read_toml
from edgespec.errors import ConfigError, ExitCode


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Wheel:
    spokes: int
    width: float = 1.5


@dataclass(frozen=True, slots=True)
class Car:
    name: FromKey
    wheels: tuple[Wheel, ...]
    colour: Colour = Colour.RED
    doors: Literal["two", "four"] = "four"
    manual: Path | None = None


@dataclass(frozen=True, slots=True)
class Garage:
    cars: dict[str, Car] = field(default_factory=dict)
    places: tuple[tuple[int, float], ...] = ()
    by_floor: dict[int, list[str]] = field(default_factory=dict)
    label: str | int | None = None
    is_open: bool = False
    spare: Wheel | None = None
    notes: object = None


WHOLE = {
    "cars": {
        "mini": {"wheels": [{"spokes": 8, "width": 2}], "colour": "blue", "doors": "two", "manual": "a/b"}
    },
    "places": [[1, 2.5], [3, 4]],
    "by_floor": {"1": ["mini"], "-1": []},
    "label": 7,
    "is_open": True,
    "spare": {"spokes": 9},
    "notes": {"any": ["thing", None]},
}


def test_every_kind_of_field_is_built() -> None:
    assert build(Garage, WHOLE, "a.json") == Garage(
        cars={"mini": Car("mini", (Wheel(8, 2.0),), Colour.BLUE, "two", Path("a/b"))},
        places=((1, 2.5), (3, 4.0)),
        by_floor={1: ["mini"], -1: []},
        label=7,
        is_open=True,
        spare=Wheel(9),
        notes={"any": ["thing", None]},
    )


def test_what_is_missing_takes_the_default_and_null_stands_for_none() -> None:
    assert build(Garage, {}, "a.json") == Garage()
    assert build(Garage, {"label": None, "spare": None}, "a.json") == Garage()


def test_a_number_that_nobody_knows_is_null_and_comes_back_as_nan() -> None:
    assert math.isnan(build(Wheel, {"spokes": 1, "width": None}, "a.json").width)
    assert math.isnan(build(tuple[float, ...], [1.0, None], "a.json")[1])


def test_whole_numbers_serve_as_numbers_and_the_other_way_round_where_nothing_is_lost() -> None:
    wheel = build(Wheel, {"spokes": 96e9, "width": 3}, "a.toml")
    assert (wheel.spokes, type(wheel.spokes)) == (96_000_000_000, int)
    assert (wheel.width, type(wheel.width)) == (3.0, float)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "a.json is [], not a table"),
        ({"cars": []}, "a.json: cars is [], not a table"),
        ({"cars": {"mini": 1}}, "a.json: cars.mini is 1, not a table"),
        ({"cars": {"mini": {}}}, "a.json: cars.mini lacks wheels"),
        (
            {"cars": {"mini": {"wheels": [{"spokes": 1}, {"spokes": 1.5}]}}},
            "a.json: cars.mini.wheels[1].spokes is 1.5, not a whole number",
        ),
        (
            {"cars": {"mini": {"wheels": [{"spokes": True}]}}},
            "a.json: cars.mini.wheels[0].spokes is True, not a whole number",
        ),
        (
            {"cars": {"mini": {"wheels": [], "colour": "green"}}},
            "a.json: cars.mini.colour is 'green', not one of red, blue",
        ),
        (
            {"cars": {"mini": {"wheels": [], "doors": ["two"]}}},
            "a.json: cars.mini.doors is ['two'], not one of two, four",
        ),
        ({"cars": {"mini": {"wheels": [], "manual": 3}}}, "a.json: cars.mini.manual is 3, not a path"),
        ({"places": "x"}, "a.json: places is 'x', not a list"),
        ({"places": [[1, 2], [3]]}, "a.json: places[1] has 1 values, not 2"),
        ({"places": [[1, "far"]]}, "a.json: places[0][1] is 'far', not a number"),
        ({"places": [[1, True]]}, "a.json: places[0][1] is True, not a number"),
        ({"places": [[1, 10**400]]}, "a.json: places[0][1] is 1" + "0" * 59 + ", not a number"),
        ({"by_floor": {"roof": []}}, "a.json: by_floor has the key 'roof', not a whole number"),
        ({"by_floor": {"2": ["a", 5]}}, "a.json: by_floor.2[1] is 5, not a string"),
        ({"label": [1]}, "a.json: label is [1], not a string or a whole number"),
        ({"is_open": 1}, "a.json: is_open is 1, not true or false"),
        ({"is_open": None}, "a.json: is_open is None, not true or false"),
        ({"spare": {"spokes": "x" * 99}}, "a.json: spare.spokes is '" + "x" * 59 + ", not a whole number"),
        ({"spare": {"width": math.inf}}, "a.json: spare lacks spokes"),
        ({"spare": {"spokes": math.inf}}, "a.json: spare.spokes is inf, not a whole number"),
    ],
)
def test_a_wrong_part_is_named_with_its_place_its_value_and_what_it_should_be(
    value: object, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Garage, value, "a.json")
    assert caught.value.message == says
    assert caught.value.exit_code == ExitCode.USAGE


def test_all_missing_keys_are_named_together() -> None:
    @dataclass
    class Both:
        left: int
        right: int
        middle: int = 0

    @dataclass
    class Three:
        schema: str
        kind: str
        name: str

    with pytest.raises(ConfigError, match=r"^a\.json lacks left and right$") as caught:
        build(Both, {}, "a.json")
    assert caught.value.hint == "add it"
    with pytest.raises(ConfigError, match=r"^a\.json lacks schema, kind and name$"):
        build(Three, {}, "a.json")


def test_unknown_keys_are_skipped_where_a_later_version_may_have_written_them() -> None:
    assert build(Wheel, {"spokes": 1, "tyre": "new"}, "a.json") == Wheel(1)


@pytest.mark.parametrize(
    ("value", "says", "hint"),
    [
        ({"car": {}}, "a.toml has the unknown key 'car'", "did you mean cars?"),
        (
            {"spare": {"spokes": 1, "wdth": 2}},
            "a.toml: spare has the unknown key 'wdth'",
            "did you mean width?",
        ),
        (
            {"spare": {"spokes": 1, "zzz": 2}},
            "a.toml: spare has the unknown key 'zzz'",
            "known keys are spokes, width",
        ),
        # The name stands in the heading of the table, and nowhere else.
        (
            {"cars": {"mini": {"wheels": [], "name": "maxi"}}},
            "a.toml: cars.mini has the unknown key 'name'",
            "known keys are wheels, colour, doors, manual",
        ),
    ],
)
def test_unknown_keys_are_mistakes_in_files_that_people_write(value: object, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Garage, value, "a.toml", known_only=True)
    assert caught.value.message == says
    assert caught.value.hint == hint


def test_a_name_of_the_heading_is_not_replaced_by_a_key_of_the_table() -> None:
    cars = build(dict[str, Car], {"mini": {"wheels": [], "name": "maxi"}}, "a.json")
    assert cars["mini"].name == "mini"


def test_a_part_of_a_document_is_named_from_the_top_and_the_caller_says_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Wheel, {"spokes": "x"}, "a.json", "cars.mini.wheels[3]", hint="count them")
    assert caught.value.message == "a.json: cars.mini.wheels[3].spokes is 'x', not a whole number"
    assert caught.value.hint == "count them"


def test_an_error_in_one_document_leaves_nothing_behind_for_the_next() -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^a.json: places\[0\]\[0\] is 'x', not a whole number$"):
            build(Garage, {"places": [["x", 1]]}, "a.json")
    assert build(Garage, WHOLE, "a.json").places == ((1, 2.5), (3, 4.0))


def test_files_are_read_as_utf_8(tmp_path: Path) -> None:
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_bytes('name = "Zoë"\n'.encode())
    json.write_bytes('{"name": "Zoë"}'.encode())
    assert read_toml(toml) == read_json(json) == {"name": "Zoë"}


def test_the_mark_that_editors_on_windows_begin_a_file_with_is_no_part_of_it(tmp_path: Path) -> None:
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('name = "Zoë"\n', encoding="utf-8-sig")
    json.write_text('{"name": "Zoë"}', encoding="utf-8-sig")
    assert read_toml(toml) == read_json(json) == {"name": "Zoë"}


@pytest.mark.parametrize("read", [read_toml, read_json])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=r"none cannot be read: No such file"):
        read(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        read(tmp_path)
    (tmp_path / "bits").write_bytes(b'a = "\xff"')
    with pytest.raises(ConfigError, match=r"bits is not UTF-8 text \(byte 5\)"):
        read(tmp_path / "bits")


def test_text_that_is_not_of_its_kind_is_named_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("a = 1\nb = \n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.toml is not valid TOML: .*line 2"):
        read_toml(file)
    with pytest.raises(ConfigError, match=r"^line 7: not JSON \(.*line 1 column 5") as caught:
        parse_json('{"a"', "line 7", hint="mend it")
    assert caught.value.hint == "mend it"


def test_json_that_is_nested_without_end_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(ConfigError, match=r"^a\.json: not JSON"):
        parse_json("[" * 200_000, "a.json")


@pytest.mark.parametrize("text", ['{"version": 1}', "{}", "[]", "null", '{"version": "2"}'])
def test_a_file_of_another_version_is_refused_before_it_is_looked_into(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.json: version is .*, not 2") as caught:
        read_json(file, version=2)
    assert caught.value.hint == "another version wrote it"
    file.write_text('{"version": 2, "a": 1}', encoding="utf-8")
    assert read_json(file, version=2) == {"version": 2, "a": 1}
