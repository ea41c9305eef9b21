"""What every front door needs of a conversation: its template, and the thoughts in an answer."""
