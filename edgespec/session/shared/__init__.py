"""One pair for many callers: answers that come and go, computed together."""
