"""The workshop: a form, the plan that comes of it, the work, and the comparison at its end."""
