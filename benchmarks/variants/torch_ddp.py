"""The same CNN in PyTorch: one process, or DistributedDataParallel under Ray's `TorchTrainer`, summed by gloo."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import torch
from torch import distributed, nn

from benchmarks.variants.common import (
    LEARNING_RATE,
    Options,
    Timed,
    VariantResult,
    describe,
    hand_over,
    load,
    parse,
    scaled,
    share_of_hits,
    under_ray_train,
)
from trainer import schedule

EPSILON = 1e-7  # of Adam, as Keras sets it
LAYOUT = torch.channels_last  # a fifth less CPU than the other on an AMD EPYC


def network() -> nn.Module:
    """Return the CNN of this project; its weights begin as Keras's do."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def run(options: Options, rank: int = 0, world_size: int = 1) -> VariantResult:
    """Train on this rank's share of each batch; a first update warms up."""
    torch.set_num_threads(options.threads)
    torch.set_num_interop_threads(1)
    torch.manual_seed(options.seed)
    mnist = load(options)
    images = torch.from_numpy(scaled(mnist.x_train)).permute(0, 3, 1, 2).contiguous(memory_format=LAYOUT)
    labels = torch.from_numpy(mnist.y_train).long()
    model: Any = network().to(memory_format=LAYOUT)
    if world_size > 1:
        from ray.train.torch import prepare_model  # noqa: PLC0415 - one process needs no Ray

        model = prepare_model(model)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, eps=EPSILON)
    torch.manual_seed(options.seed + rank)  # the ranks drop different neurons
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.randperm(schedule.TRAIN_SAMPLES, generator=generator)[: options.samples]
    own = schedule.share(rank, world_size, options.batch_size)
    batches = order.reshape(options.updates, options.batch_size)[:, own]

    def update(samples: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images[samples]), labels[samples])
        loss.backward()
        optimizer.step()
        return loss.detach()

    update(batches[0])
    if world_size > 1:
        distributed.barrier()
    started = time.perf_counter()
    loss = torch.stack([update(samples) for samples in batches]).mean()
    seconds = time.perf_counter() - started
    if world_size > 1:
        distributed.all_reduce(loss)
    accuracy = None
    if options.evaluate:
        model.eval()
        pixels = torch.from_numpy(scaled(mnist.x_test)).permute(0, 3, 1, 2)
        with torch.no_grad():
            accuracy = share_of_hits([model(batch).numpy() for batch in pixels.split(1000)], mnist.y_test)
    return describe(
        "torch_ddp",
        options,
        Timed(seconds, float(loss) / world_size),
        updates=int(next(iter(optimizer.state.values()))["step"]) - 1,  # the warm-up was one
        intra_threads=torch.get_num_threads(),
        inter_threads=torch.get_num_interop_threads(),
        versions={"torch": torch.__version__},
        accuracy=accuracy,
    )


def worker(config: dict[str, Any]) -> dict[str, Any]:
    """Train as one of Ray Train's workers."""
    from ray.train import get_context  # noqa: PLC0415

    context = get_context()
    return asdict(run(Options(**config), context.get_world_rank(), context.get_world_size()))


def main() -> int:
    """Train in this process, or under Ray Train."""
    options = parse(sys.argv[1:])
    if not options.workers:
        return hand_over(run(options))
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    return under_ray_train(TorchTrainer, worker, options)


if __name__ == "__main__":
    sys.exit(main())
