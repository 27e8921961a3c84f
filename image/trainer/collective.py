"""How ranks add their gradients: nobody to add to, TensorFlow's collective, or a ring and a memory of our own."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import tensorflow as tf

from trainer import memory
from trainer.ring import Ring, Vector, gathered
from trainer.telemetry import Stopwatch

NAMES = ("auto", "memory", "ring", "tensorflow")
CPU_GROUP, GPU_GROUP = 900, 901
"""Of TensorFlow's collectives: a group's ranks have devices of one kind. The strategy counts its own from 1."""


class Collective(Protocol):
    """Adds a vector of floats over all ranks, with the same bits on each, from inside a TensorFlow graph."""

    name: str

    def all_reduce(self, vector: Any) -> Any:
        """Return the sum of every rank's vector, as a tensor of the same shape."""
        ...

    def barrier(self) -> None:
        """Return when every rank has called it."""
        ...

    def gather(self, data: bytes) -> list[bytes]:
        """Return what every rank gave, by rank."""
        ...

    def timed_by(self, stopwatch: Stopwatch) -> bool:
        """Let a stopwatch take the time of each sum, before the graph is built; False where nobody can."""
        ...

    def close(self) -> None:
        """Let go of sockets."""
        ...


class Alone:
    """One rank: its own vector is the sum."""

    name = "none"

    def all_reduce(self, vector: Any) -> Any:
        """Return the vector itself."""
        return vector

    def barrier(self) -> None:
        """Return at once."""

    def gather(self, data: bytes) -> list[bytes]:
        """Return its own alone."""
        return [data]

    def timed_by(self, stopwatch: Stopwatch) -> bool:
        """Refuse: there is no sum."""
        return False

    def close(self) -> None:
        """Do nothing."""


class Called(Alone):
    """One rank whose vector leaves the graph and returns, as that of each of several ranks does."""

    def all_reduce(self, vector: Any) -> Any:
        """Return the vector itself, by a call out of the graph."""
        return _call(lambda own: own, vector)


class TensorFlowCollective:
    """TensorFlow's ring all-reduce over gRPC, the one beneath MultiWorkerMirroredStrategy; between GPUs, NCCL's.

    The strategy is used to wire the ranks up from TF_CONFIG; the reduction is its own operation, since
    `strategy.run` adds nothing to one replica per process but time.
    """

    def __init__(self, rank: int, world_size: int, *, on_gpus: bool = False) -> None:
        self.name = "nccl" if on_gpus else "tensorflow"
        self._rank, self._world_size, self._on_gpus = rank, world_size, on_gpus
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self._barrier = tf.function(lambda: self._reduce_on_cpu(tf.zeros(1), instance=2), autograph=False)

    def _reduce(self, vector: Any, instance: int, *, group: int, hint: str) -> Any:
        return tf.raw_ops.CollectiveReduceV2(
            input=vector,
            group_size=self._world_size,
            group_key=group,
            instance_key=instance,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint=hint,
        )

    def _reduce_on_cpu(self, vector: Any, instance: int) -> Any:
        with tf.device("CPU:0" if self._on_gpus else None):
            return self._reduce(vector, instance, group=CPU_GROUP, hint="ring")

    def all_reduce(self, vector: Any) -> Any:
        """Return the sum, by TensorFlow's collective executor."""
        instance = 1 if vector.dtype == tf.float32 else 3
        if self._on_gpus:
            return self._reduce(vector, instance, group=GPU_GROUP, hint="nccl")
        return self._reduce_on_cpu(vector, instance)

    def barrier(self) -> None:
        """Reduce one number."""
        self._barrier().numpy()

    def gather(self, data: bytes) -> list[bytes]:
        """Gather by two reductions, each an instance of its own."""
        instances = itertools.count(4)
        return gathered(data, self._rank, self._world_size, lambda each: self._sum_of(each, next(instances)))

    def _sum_of(self, numbers: Vector, instance: int) -> Vector:
        add = tf.function(lambda: self._reduce_on_cpu(tf.constant(numbers), instance), autograph=False)
        total: Vector = add().numpy()
        return total

    def timed_by(self, stopwatch: Stopwatch) -> bool:
        """Refuse: the sum is made inside TensorFlow's graph, where no clock of ours is."""
        return False

    def close(self) -> None:
        """Do nothing: TensorFlow's server ends with the process."""


class OwnCollective:
    """Our sums over TCP sockets or, on one host, through memory, called from the graph; a GPU's numbers are copied.

    Attributes:
        name: "ring" or "memory", whichever adds the vectors up.

    Args:
        ring: to the other ranks.
        shared: what they share; None to add up on the ring.
    """

    def __init__(self, ring: Ring, shared: memory.Memory | None) -> None:
        self.name = "memory" if shared else "ring"
        self._ring = ring
        self._sum: Callable[[Vector], Vector] = shared.all_reduce if shared else ring.all_reduce

    def timed_by(self, stopwatch: Stopwatch) -> bool:
        """Read a clock before and after each call out of the graph."""
        self._sum = stopwatch.around(self._sum)
        return True

    def all_reduce(self, vector: Any) -> Any:
        """Return the sum, by a call out of the graph."""
        return _call(self._sum, vector)

    def barrier(self) -> None:
        """Wait on the ring."""
        self._ring.barrier()

    def gather(self, data: bytes) -> list[bytes]:
        """Gather on the ring."""
        return self._ring.gather(data)

    def close(self) -> None:
        """Close both sockets."""
        self._ring.close()


class Delayed:
    """Another collective that sleeps after each sum: a slowdown on purpose, to see it detected.

    It sleeps the given share of the time since it last woke up, so that each step takes so much longer.
    Waiting costs no CPU, which the other rank may need.
    """

    def __init__(
        self,
        inner: Collective,
        share: float,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner, self._share, self._clock, self._sleep = inner, share, clock, sleep
        self.name = inner.name
        self._awake = clock()

    def pause(self, vector: Vector) -> Vector:
        """Sleep for this step's delay; the vector passes through."""
        self._sleep((self._clock() - self._awake) * self._share)
        self._awake = self._clock()
        return vector

    def all_reduce(self, vector: Any) -> Any:
        """Return the inner collective's sum, later."""
        return _call(self.pause, self._inner.all_reduce(vector))

    def barrier(self) -> None:
        """Wait at the inner barrier; the time before it, such as an evaluation's, belongs to no step."""
        self._inner.barrier()
        self._awake = self._clock()

    def gather(self, data: bytes) -> list[bytes]:
        """Gather without a delay."""
        return self._inner.gather(data)

    def timed_by(self, stopwatch: Stopwatch) -> bool:
        """Time the inner sum, without the delay."""
        return self._inner.timed_by(stopwatch)

    def close(self) -> None:
        """Close the inner collective."""
        self._inner.close()


def _call(work: Callable[[Vector], Vector], vector: Any) -> Any:
    """Call a function out of the graph; stateful, so that no call is merged or skipped."""
    result = tf.numpy_function(work, [vector], vector.dtype, stateful=True)
    result.set_shape(vector.shape)
    return result


def connect(
    name: str,
    rank: int,
    world_size: int,
    largest_bytes: int,
    environ: Mapping[str, str] = os.environ,
    *,
    on_gpus: bool = False,
) -> Collective:
    """Return the collective of this name among the ranks that TF_CONFIG lists; Alone when there is one rank.

    "auto" is TensorFlow's on GPUs, else the memory where a few ranks share one, else the ring; `largest_bytes` is the
    size of the largest vector that will be added up. Raises NoSharedMemoryError when "memory" is asked for and the
    ranks have none.
    """
    if world_size == 1:
        return Alone()
    if name == "tensorflow" or (name == "auto" and on_gpus):
        return TensorFlowCollective(rank, world_size, on_gpus=on_gpus)
    addresses = tuple(json.loads(environ["TF_CONFIG"])["cluster"]["worker"])
    if len(addresses) != world_size:
        raise ValueError(f"TF_CONFIG lists {len(addresses)} workers, the world size is {world_size}")
    ring = Ring(rank, addresses)
    wanted = name == "memory" or (name == "auto" and world_size <= memory.FEW_RANKS)
    shared = memory.shared(ring, largest_bytes) if wanted else None
    if name == "memory" and shared is None:
        raise memory.NoSharedMemoryError("the ranks share no memory: they run on several hosts, or /dev/shm is full")
    return OwnCollective(ring, shared)
