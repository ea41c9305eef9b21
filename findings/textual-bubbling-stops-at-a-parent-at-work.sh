#!/usr/bin/env bash
# textual 8.2.8 (message.py: a message's sender is whatever pump is at work when it is made; message_pump.py, _on_message); Python >= 3.11.
# Guessed: a message that a widget posts bubbles up to the app, whoever called the widget's method.
# Seen: not where its parent is at work: a handler of the parent calls a method of its child, the child posts, the parent hears of it, and
# nothing above the parent does, because the parent counts as the sender, and what comes from a parent goes no further than to it. The
# same method called from the child's own handler or from a timer of the child is heard everywhere. `message.set_sender(child)` before
# posting helps. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check textual==8.2.8
cd "$work"
"$work/env/bin/python" - <<'PY'
import asyncio

from textual import on
from textual.app import App
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget


class Child(Widget):
    class Said(Message):
        def __init__(self, text):
            super().__init__()
            self.text = text

    class Please(Message, bubble=False):
        pass

    def say(self, text, as_own=False):
        said = self.Said(text)
        if as_own:
            said.set_sender(self)
        self.post_message(said)

    @on(Please)
    def asked(self):
        self.say("from the child's own handler")


class Parent(Vertical):
    class Go(Message, bubble=False):
        pass

    heard = ()

    def compose(self):
        yield Child()

    @on(Go)
    def go(self):
        child = self.query_one(Child)
        child.say("from the parent's handler")
        child.say("from the parent's handler, with set_sender", as_own=True)
        child.set_timer(0.05, lambda: child.say("from a timer of the child"))
        child.post_message(Child.Please())

    @on(Child.Said)
    def hear(self, said):
        self.heard = (*self.heard, said.text)


class Demo(App):
    heard = ()

    def compose(self):
        yield Parent()

    @on(Child.Said)
    def hear(self, said):
        self.heard = (*self.heard, said.text)


async def main():
    app = Demo()
    async with app.run_test() as pilot:
        parent = app.query_one(Parent)
        parent.post_message(Parent.Go())
        await pilot.pause(0.5)
        print("heard by the parent:", *sorted(parent.heard), sep="\n  ")
        print("heard by the app:", *sorted(app.heard), sep="\n  ")
        assert len(parent.heard) == 4, "changed"
        assert set(parent.heard) - set(app.heard) == {"from the parent's handler"}, "changed"


asyncio.run(main())
PY
