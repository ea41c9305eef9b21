#!/usr/bin/env bash
# jinja2 3.1.6 with markupsafe 3.0.4, autoescape off as transformers and llama-cpp-python set it up for chat templates; Python
# >= 3.11.
# Guessed: where nothing is escaped, the filter `safe` does nothing.
# Seen: it begins the escaping. "..."|safe + text is an addition of markupsafe's, which escapes what is added, quotes of a JSON
# too: {"k": 1} gets into the prompt as {&#34;k&#34;: 1}. `~`, join and a second {{ }} leave it alone. The published template of
# functionary-medium-v3.1 adds its tools in this way, so transformers gives that model entities where llama.cpp's own template
# engine (b11549) gives quotes: one model, two prompts. Fails when this changes.
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check jinja2==3.1.6 markupsafe==3.0.4
cd "$work"
"$work/env/bin/python" - <<'PY'
import json

from jinja2.sandbox import ImmutableSandboxedEnvironment

environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
assert environment.autoescape is False
expected = {
    "{{ 'Use ' + tool | tojson }}": 'Use {"k": 1}',
    "{{ 'Use '|safe + tool | tojson }}": "Use {&#34;k&#34;: 1}",
    "{{ 'Use '|safe + name }}": "Use &lt;b&gt;",
    "{{ name + ' is used'|safe }}": "&lt;b&gt; is used",
    "{{ 'Use '|safe ~ name }}": "Use <b>",
    "{{ ['Use '|safe, name] | join }}": "Use <b>",
    "{{ 'Use '|safe }}{{ name }}": "Use <b>",
}
for template, text in expected.items():
    rendered = environment.from_string(template).render(tool={"k": 1}, name="<b>")
    print(f"{template:36} {rendered}")
    assert rendered == text, "changed"
PY
