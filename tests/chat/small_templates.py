"""Small chat templates of several kinds, and a conversation for them."""

from collections.abc import Sequence

from edgespec.chat.messages import ChatMessage
from edgespec.chat.template import ChatTemplate, Think

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)


TYPED = (
    "{% for message in messages %}<{{ message.role }}>{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}<assistant>"
)


QUESTION = [ChatMessage("user", " Why? ")]


CONVERSATION = [
    ChatMessage("system", "Be brief."),
    ChatMessage("user", "Why?"),
    ChatMessage("assistant", "Because."),
    ChatMessage("user", "And?"),
]


def render(
    source: str,
    messages: Sequence[ChatMessage],
    think: Think = "auto",
    *,
    bos_text: str = "",
    eos_text: str = "",
) -> str:
    return ChatTemplate(source, bos_text, eos_text).render(messages, think)
