"""The server that speaks OpenAI's protocol: routes, streams, keys and limits. The engines are in processes of their own."""
