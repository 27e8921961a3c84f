"""Where the ranks hand in what they did."""

from __future__ import annotations

from trainer.result import RankRecord


class Records:
    """An actor that takes every rank's record; Ray Train itself hands back only what rank 0 returns."""

    def __init__(self) -> None:
        self._records: list[RankRecord] = []

    def add(self, record: RankRecord) -> None:
        """Keep one rank's record."""
        self._records.append(record)

    def all(self) -> list[RankRecord]:
        """The records by rank."""
        return sorted(self._records, key=lambda record: record.rank)
