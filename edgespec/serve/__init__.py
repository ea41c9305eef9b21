"""The server: one answer's speed for every program that speaks OpenAI's or Anthropic's protocol. Needs the extra `serve`."""
