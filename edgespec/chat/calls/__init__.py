"""Tool calls in a model's own notation: found out from its template, read from its answers, and made a grammar of."""
