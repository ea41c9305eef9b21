"""Keys as they are shown: what a line beside something says leads there."""

from textual.widget import Widget


def shown_key(widget: Widget, name: str) -> str:
    """The key of a binding as it is now, for keys can be changed; empty where it has none.

    Args:
        widget: On the screen that has the binding.
        name: Id of the binding.
    """
    bindings = (active.binding for active in widget.screen.active_bindings.values())
    found = next((binding for binding in bindings if binding.id == name), None)
    return widget.app.get_key_display(found) if found else ""
