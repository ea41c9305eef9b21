"""Chat templates as models of many makers have them, as far as calls of tools go: small, and written for these tests."""

_HEAD = (
    "{% if tools %}<tools>{% for tool in tools %}{{ tool | tojson }}{% endfor %}</tools>{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content or '' }}"
)
_TAIL = "<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def _template(calls: str) -> str:
    return f"{_HEAD}{{% if message.tool_calls %}}{calls}{{% endif %}}{_TAIL}"


_EACH = "{% for call in message.tool_calls %}{% set f = call.function %}"
_JSON = '{"name": "{{ f.name }}", "arguments": {{ f.arguments | tojson }}'
_PAIRS = "{% for key, value in f.arguments.items() %}"
_SAID = "{{ value if value is string else value | tojson }}"
TEMPLATES = {
    "objects in tags": _template(
        f"{_EACH}<tool_call>\n{_JSON}}}\n</tool_call>{{% if not loop.last %}}\n{{% endif %}}{{% endfor %}}"
    ),
    "a list of objects with ids": _template(
        f'[TOOL_CALLS][{_EACH}{_JSON}, "id": "{{{{ call.id }}}}"}}{{% if not loop.last %}}, {{% endif %}}{{% endfor %}}]'
    ),
    "numbered objects": _template(
        f'<|ACTION|>[{_EACH}\n    {{"number": "{{{{ loop.index0 }}}}", "tool": "{{{{ f.name }}}}", "parameters": '
        "{{ f.arguments | tojson }}}{% if not loop.last %},{% endif %}{% endfor %}\n]<|NOITCA|>"
    ),
    "names as keys": _template(
        f"<|calls|>[{_EACH}"
        '{"{{ f.name }}": {{ f.arguments | tojson }}}{% if not loop.last %}, {% endif %}{% endfor %}]<|llac|>'
    ),
    "objects alone": _template(
        "{% if message.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
        f'{_EACH}{{{{ \'{{"name": "\' + f.name + \'", "parameters": \' }}}}{{{{ f.arguments | tojson }}}}}}{{% endfor %}}'
    ),
    "names and objects": _template(
        f"{_EACH}[CALL]{{{{ f.name }}}}[ARGS]{{{{ f.arguments | tojson }}}}{{% endfor %}}"
    ),
    "names with numbers": _template(
        f"<|begin|>{_EACH}<|call|>functions.{{{{ f.name }}}}:{{{{ loop.index0 }}}}<|with|>"
        "{{ f.arguments | tojson }}<|end call|>{% endfor %}<|over|>"
    ),
    "arguments in tags": _template(
        f"{_EACH}<tool_call>\n<function={{{{ f.name }}}}>\n{_PAIRS}<parameter={{{{ key }}}}>\n{_SAID}\n</parameter>\n"
        "{% endfor %}</function>\n</tool_call>{% if not loop.last %}\n{% endif %}{% endfor %}"
    ),
    "arguments in pairs of tags": _template(
        f"{_EACH}<tool_call>{{{{ f.name }}}}{_PAIRS}<arg_key>{{{{ key }}}}</arg_key><arg_value>{_SAID}</arg_value>"
        "{% endfor %}</tool_call>{% endfor %}"
    ),
    "typed arguments": _template(
        f'<calls>{_EACH}\n<invoke name="{{{{ f.name }}}}">{_PAIRS}\n<parameter name="{{{{ key }}}}" '
        f"string=\"{{{{ 'true' if value is string else 'false' }}}}\">{_SAID}</parameter>"
        "{% endfor %}\n</invoke>{% endfor %}\n</calls>"
    ),
    "arguments in quotes of their own": _template(
        f"{_EACH}<|call>call:{{{{ f.name }}}}{{{{ '{{' }}}}{_PAIRS}{{{{ key }}}}:{{% if value is string %}}<|q|>{{{{ value }}}}<|q|>"
        "{% else %}{{ value | tojson }}{% endif %}{% if not loop.last %},{% endif %}{% endfor %}{{ '}' }}<call|>{% endfor %}"
    ),
    "text arguments": _template(
        f'{_EACH}<call name="{{{{ f.name }}}}">{{{{ "" + f.arguments }}}}</call>{{% endfor %}}'
    ),
}
"""By what they write."""
NO_TOOLS_TEMPLATE = (
    "{% for message in messages %}{% if message.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('no such role') }}{% endif %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
