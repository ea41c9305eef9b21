"""Limits of memory that containers and services have: Linux's control groups, of both versions."""

from pathlib import Path
from typing import Final

_UNLIMITED: Final = 1 << 60
"""Control groups without a limit give a number near 2**63."""


def headroom_bytes() -> int | None:
    """What is left under the tightest limit of this process; None without any, and elsewhere than on Linux."""
    limits = [_headroom(folder) for folder in _folders()]
    return min((limit for limit in limits if limit is not None), default=None)


def _folders() -> list[Path]:
    """The control groups of this process from its own up to the root (Linux; elsewhere none)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            root = Path("/sys/fs/cgroup")
        elif "memory" in controllers.split(","):
            root = Path("/sys/fs/cgroup/memory")
        else:
            continue
        own = root / group.lstrip("/")
        folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    return folders


def _headroom(folder: Path) -> int | None:
    """Bytes left under the limit of one control group, page cache that can go counted as free; None without a limit."""
    for limit_file, usage_file in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, usage = _number(folder / limit_file), _number(folder / usage_file)
        if limit is not None and usage is not None and limit < _UNLIMITED:
            return max(0, limit - usage + _reclaimable(folder / "memory.stat"))
    return None


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(file: Path) -> int:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    stat = dict(line.split(" ", 1) for line in lines if " " in line)
    for key in ("total_inactive_file", "inactive_file"):
        if stat.get(key, "").isdigit():
            return int(stat[key]) + int(stat.get(key.replace("inactive", "active"), "0"))
    return 0
