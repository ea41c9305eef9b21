"""The engine in a process of its own: what is said to it, what it says, and how both travel."""
