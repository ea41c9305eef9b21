"""What drafts: one file a kind, and one contract for all of them."""
