"""Registers fixtures/plugin, nothing else."""

pytest_plugins = ["fixtures.plugin"]
