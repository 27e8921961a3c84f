"""Registers the plugins in fixtures/, nothing else."""

pytest_plugins = ["fixtures.options", "fixtures.suite", "fixtures.reporting"]
