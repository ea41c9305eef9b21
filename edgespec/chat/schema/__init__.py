"""JSON schemas as grammars: every text that one of them lets through is a value of its schema."""
