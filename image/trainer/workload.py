"""What a workload's own file imports: `from trainer.workload import Data, read`."""

from trainer.datasets import Data, read
from trainer.formats import InvalidDataError

__all__ = ["Data", "InvalidDataError", "read"]
