"""What a running model tells: activations, importance, the effect of a missing block, perplexity and KL divergence."""
