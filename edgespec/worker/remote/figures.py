"""What is known of the cost of a server's answer, in words."""

from edgespec.decode.token import GenerationStats


def remote_receipt(stats: GenerationStats) -> str:
    """The figures of an answer in one line: what the server tells, and the time to the first token as seen from here."""
    thought = f" ({stats.thought_n} of thought)" if stats.thought_n else ""
    parts = [f"{stats.predicted_n} tokens{thought}" if stats.predicted_n else "tokens unknown"]
    parts.append(f"{stats.tok_per_s:.1f} tok/s" if stats.tok_per_s > 0 else "speed unknown")
    if stats.acceptance is not None:
        parts.append(f"{stats.acceptance:.0%} accepted ({stats.draft_n_accepted}/{stats.draft_n})")
    if stats.ttft_s:
        parts.append(f"TTFT {stats.ttft_s:.2f} s")
    if stats.prompt_tok_per_s:
        parts.append(f"prompt {stats.prompt_tok_per_s:.0f} tok/s")
    return " · ".join(parts)
