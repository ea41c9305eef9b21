"""CONTRIBUTING.md says of the rooms and the tests what is so."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(title: str) -> list[list[str]]:
    """The words of every indented line of a section."""
    return [line.split() for line in section(title).splitlines() if line.startswith("    ")]


def as_path(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}/" if (REPOSITORY / path).is_dir() else f"{path}.py"


def test_the_table_of_floors_is_that_of_the_import_contract() -> None:
    layers: list[str] = next(
        one["layers"] for one in PROJECT["tool"]["importlinter"]["contracts"] if one["type"] == "layers"
    )
    wanted = [{as_path(module.strip()) for module in layer.split("|")} for layer in layers]
    floors: dict[str, set[str]] = {}
    for number, *words in table("The floors"):
        rooms = [word for word in words if word.endswith(".py")] or words[:1]
        key = number if number != "0" else rooms[0]
        floors.setdefault(key, set()).update(rooms)
    assert list(floors.values()) == wanted
    assert [key for key in floors if key.isdigit()] == [str(n) for n in range(len(wanted) - 3, 0, -1)]


def test_every_module_of_the_three_packages_lies_on_a_floor() -> None:
    named = {word for _, *words in table("The floors") for word in words if "/" in word}
    rooms = [
        path
        for path in (REPOSITORY / "edgespec").iterdir()
        if path.name not in ("data", "__pycache__", "__init__.py")
    ]
    for room in rooms:
        if room.is_dir() or (room.suffix == ".py" and room.name != "__main__.py"):
            assert f"edgespec/{room.name}{'/' if room.is_dir() else ''}" in named
    assert {"quant/", "tui/"} <= named


def test_the_table_of_tests_names_every_folder_of_tests() -> None:
    named = {words[0] for words in table("Tests")}
    folders = {
        f"tests/{folder.name}/"
        for folder in (REPOSITORY / "tests").iterdir()
        if folder.is_dir() and any(folder.rglob("test_*.py"))
    }
    assert {name for name in named if name.endswith("/")} == folders
    assert all((REPOSITORY / name).is_file() for name in named if name.endswith(".py"))


PROTOCOL = "edgespec.worker.protocol"
PATHS = re.findall(
    r"^- \*\*(\w+)\*\*: (.+?)(?=\n- |\n\n)", section("Where things go") + "\n\n", re.MULTILINE | re.DOTALL
)


def test_four_paths_are_told() -> None:
    assert [name for name, _ in PATHS] == ["chat", "bench", "prune", "tune"]


@pytest.mark.parametrize(("name", "told"), PATHS, ids=[name for name, _ in PATHS])
def test_a_path_leads_through_five_files_each_named_by_one_before_it(name: str, told: str) -> None:
    files = re.findall(r"`([\w/]+\.py)`", told)
    assert len(files) == 5, name
    for place, file in enumerate(files[1:], 1):
        assert any(leads_to(before, file) for before in files[:place]), f"nothing before it leads to {file}"


def leads_to(file: str, other: str) -> bool:
    """Whether a file imports the other, or both speak the protocol between the processes."""
    here, there = imports_of(file), imports_of(other)
    return as_module(other) in here or PROTOCOL in here & there


def imports_of(file: str) -> set[str]:
    """What is imported anywhere in a file, and the packages that only hand names on."""
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    faces = {name for name in found if (REPOSITORY / name.replace(".", "/") / "__init__.py").is_file()}
    handed_on = [imports_of(f"{face.replace('.', '/')}/__init__.py") for face in faces]
    return found.union(*handed_on)


def as_module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def test_the_version_of_llama_cpp_python_stands_in_one_place() -> None:
    version = re.search(
        r"llama-cpp-python>=([\d.]+)", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert version is not None
    files = [
        file
        for folder in ("edgespec", "quant", "tui", "scripts", "docs")
        for file in (REPOSITORY / folder).rglob("*")
        if file.suffix in (".py", ".md", ".toml", ".cmake")
    ]
    files += [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "Makefile", "constraints.txt")]
    assert [str(file) for file in files if version[1] in file.read_text(encoding="utf-8")] == []
