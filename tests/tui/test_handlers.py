"""Textual runs the handlers of every class that a widget inherits from: here no two of the app's own take one message."""

import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import pytest
from textual.message_pump import MessagePump

import tui


def app_classes() -> Iterator[type[MessagePump]]:
    """Screens, widgets and the app."""
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        for found in vars(import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, MessagePump) and found.__module__ == module.name:
                yield found


def handlers_of(one: type[MessagePump]) -> set[str]:
    """What a class handles itself, by the names of the messages."""
    named = {name.lstrip("_") for name in vars(one) if name.lstrip("_").startswith("on_")}
    decorated = {
        f"on_{message.handler_name.removeprefix('on_')}" for message in vars(one)["_decorated_handlers"]
    }
    return named | decorated


@pytest.mark.parametrize("one", list(app_classes()), ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_a_message_is_handled_by_one_class_of_a_line(one: type[MessagePump]) -> None:
    handled: dict[str, list[str]] = defaultdict(list)
    for base in one.__mro__:
        if base.__module__.startswith("tui."):
            for name in handlers_of(base):
                handled[name].append(base.__name__)
    assert {name: classes for name, classes in handled.items() if len(classes) > 1} == {}


def test_the_check_sees_handlers_of_both_kinds() -> None:
    from tui.chat.tabs import ChatTabs

    assert {"on_mount", "on_worker_reported", "on_tab_pane_changed"} <= handlers_of(ChatTabs)
