"""Measurements of the project itself: `make bench`, and commands that made data kept in the repository."""
