"""The engine and long jobs in a process of their own: what is said to it, what it says, and how both travel."""
