"""What screens share: the frame of a mode, dialogs, words, and widgets that more than one has."""
