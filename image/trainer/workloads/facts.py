"""What is known of a training without running it. Standard library only: the harness reads it, too."""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONSTANTS: dict[str, tuple[Any, str]] = {
    "EPOCHS": (lambda value: type(value) is int and value > 0, "a whole number from 1"),
    "BATCH_SIZE": (lambda value: type(value) is int and value > 0, "a whole number from 1"),
    "TARGET": (lambda value: type(value) in (int, float), "a number"),
    "BATCH_NORM": (
        lambda value: isinstance(value, str) and group_size(value) > 0,
        "'groups:N', statistics over N samples",
    ),
}
"""What a user's file may set at its top level: a check of the value, and what is accepted."""


class InvalidWorkloadError(Exception):
    """A user's training cannot be measured: one sentence with what was found and what is accepted."""


@dataclass(frozen=True)
class BuiltIn:
    """A training that comes with the suite.

    Attributes:
        file: in this folder, written as a user's file is; empty for the CNN, which needs no Keras.
        data: name of its data set.
        about: what it is, in a few words.
    """

    file: str
    data: str
    about: str


BUILT_IN: Mapping[str, BuiltIn] = {
    "cnn-mnist": BuiltIn("", "mnist", "a small CNN, 225,034 weights; the default"),
    "cnn-fashion-mnist": BuiltIn("", "fashion-mnist", "the same CNN on pictures of clothes"),
    "mlp-digits": BuiltIn("mlp_digits.py", "digits", "two dense layers on 8x8 digits: an epoch in under a second"),
    "resnet20-cifar10": BuiltIn("resnet20_cifar10.py", "cifar10", "ResNet-20 (He 2016) with GroupNorm"),
    "resnet20-bn-cifar10": BuiltIn("resnet20_bn_cifar10.py", "cifar10", "ResNet-20 with BatchNorm by groups"),
    "vgg11-cifar10": BuiltIn("vgg11_cifar10.py", "cifar10", "VGG-11, 9.2 M weights: hurt most by a slow link"),
}

CNN_SHAPES: Mapping[str, tuple[int, ...]] = {
    "conv1": (3, 3, 1, 32),
    "conv1 bias": (32,),
    "conv2": (3, 3, 32, 64),
    "conv2 bias": (64,),
    "dense": (1600, 128),
    "dense bias": (128,),
    "softmax": (128, 10),
    "softmax bias": (10,),
}


@dataclass(frozen=True)
class WorkloadFacts:
    """What is known of a training before it is measured.

    Attributes:
        workload_sha256: of the file's bytes; "built-in" for the CNN.
        data: name or file of the data, for people.
        data_sha256: see datasets.digest; of cnn-mnist, the file's own.
        tensors: names of the weight tensors, in the order of the flat vector.
        sizes: how many weights each has.
        split: worker count -> how far the shares' gradients are from the whole batch's, relative, in double precision.
        batch_norm: "groups:64", statistics over so many samples; empty where there is no BatchNorm.
        optimizer: with its settings.
        target: the file's TARGET; None where it has none.
        probe_samples: of a few global batches, in the equivalence probe; 0 for whole ones, and more of them.
        notes: for people, such as why the probe has fewer samples.
    """

    name: str
    workload_sha256: str
    data: str
    data_sha256: str
    train_samples: int
    test_samples: int
    tensors: tuple[str, ...]
    sizes: tuple[int, ...]
    split: dict[str, float]
    batch_norm: str = ""
    optimizer: str = "Adam(learning_rate=0.001)"
    target: float | None = None
    probe_samples: int = 0
    notes: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the trainer's flags for what was decided once, for every trial."""
        flags: list[str] = []
        if self.batch_norm:
            flags += ["--batch-norm", self.batch_norm]
        if self.probe_samples:
            flags += ["--probe-samples", str(self.probe_samples)]
        return tuple(flags)


CNN_MNIST = WorkloadFacts(
    name="cnn-mnist",
    workload_sha256="built-in",
    data="MNIST",
    data_sha256="06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64",
    train_samples=60_000,
    test_samples=10_000,
    tensors=tuple(CNN_SHAPES),
    sizes=tuple(map(math.prod, CNN_SHAPES.values())),
    split={},
)


def is_built_in(name: str) -> bool:
    """Return whether this is the name of a training that comes with the suite."""
    return name in BUILT_IN


def workload_file(name: str) -> Path | None:
    """Return the file of a workload, by its name or path; None for the CNN. Raises InvalidWorkloadError."""
    if is_built_in(name):
        own = BUILT_IN[name].file
        return Path(__file__).with_name(own) if own else None
    if not name.endswith(".py"):
        raise InvalidWorkloadError(f"workload {name!r}: expected a file such as my_net.py, or {', '.join(BUILT_IN)}")
    if not Path(name).is_file():
        raise InvalidWorkloadError(f"workload {name}: there is no such file")
    return Path(name)


def parse(file: Path) -> ast.Module:
    """Return a user's file as Python's own tree of it, without running it. Raises InvalidWorkloadError."""
    try:
        return ast.parse(file.read_bytes(), file.name)
    except OSError as error:
        raise InvalidWorkloadError(f"{file} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise InvalidWorkloadError(f"{file.name} is not Python: {error}") from None


def constants(file: Path) -> dict[str, int | float | str]:
    """Return the CONSTANTS that a user's file sets, without running it. Raises InvalidWorkloadError."""
    tree = parse(file)
    _refuse_tf_keras(tree, file.name)
    found = {}
    for name, value in _assignments(tree):
        if name not in CONSTANTS:
            continue
        accepts, expected = CONSTANTS[name]
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            raise InvalidWorkloadError(f"{file.name}: {name} is computed; expected {expected}, written out") from None
        if not accepts(found[name]):
            raise InvalidWorkloadError(f"{file.name}: {name} = {found[name]!r}; expected {expected}")
    return found


def group_size(batch_norm: str) -> int:
    """Return the N of 'groups:N'; 0 where it is something else."""
    match = re.fullmatch(r"groups:([0-9]{1,9})", batch_norm)
    return int(match[1]) if match else 0


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield what names are set to at the top level; of `EPOCHS, BATCH_SIZE = 3, 128`, each with its own part."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        for target in targets:
            parts = [(target, value)]
            if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
                parts = list(zip(target.elts, value.elts, strict=False))
            yield from ((name.id, part) for name, part in parts if isinstance(name, ast.Name) and part)


def _refuse_tf_keras(tree: ast.Module, name: str) -> None:
    """Refuse TensorFlow's own name for Keras: Ray Train makes it Keras 2 in its workers, and in them alone."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    names = {alias.asname or alias.name for node in imports for alias in node.names if alias.name == "tensorflow"}
    for node in ast.walk(tree):
        used = isinstance(node, ast.Attribute) and node.attr == "keras" and getattr(node.value, "id", "") in names
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            from_tensorflow = module == "tensorflow" and any(alias.name == "keras" for alias in node.names)
            used = from_tensorflow or f"{module}.".startswith(("tensorflow.keras.", "tf_keras."))
        if isinstance(node, ast.Import):
            used = any(f"{alias.name}.".startswith(("tensorflow.keras.", "tf_keras.")) for alias in node.names)
        if used:
            line = getattr(node, "lineno", 0)
            raise InvalidWorkloadError(f"{name}, line {line}: tf.keras is not the same in Ray's workers: import keras")


def forbid_forks(workload: str) -> None:
    """End whatever forks from now on: the process would go on twice, each with a result of its own."""

    def hook(event: str, _: object) -> None:
        if event == "os.fork":
            raise InvalidWorkloadError(f"{workload} calls os.fork: a copy of the process would train as well")

    sys.addaudithook(hook)
