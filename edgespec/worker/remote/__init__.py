"""A server that speaks OpenAI's protocol, edgespec's own or another, in the place of an engine on this machine."""
