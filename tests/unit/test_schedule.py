"""Which sample is where in which batch: nobody trains on one twice, and shares add up."""

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.schedule import TRAIN_SAMPLES, add_coverage, coverage, global_batches, share, updates_per_epoch

SEEDS = st.integers(0, 1_000_000_000)


@given(world_size=st.integers(1, 64), per_replica=st.integers(1, 200))
def test_shares_hold_every_position_of_a_global_batch_once(world_size: int, per_replica: int) -> None:
    size = world_size * per_replica
    positions = [at for rank in range(world_size) for at in range(size)[share(rank, world_size, size)]]

    assert positions == list(range(size))


@settings(deadline=None)
@given(seed=SEEDS, epoch=st.integers(0, 50), batch=st.integers(1, 300), samples=st.integers(1, 900))
def test_no_sample_is_twice_in_an_epoch_of_full_batches(seed: int, epoch: int, batch: int, samples: int) -> None:
    batches = global_batches(seed, epoch, batch, samples)
    seen = [sample for each in batches for sample in each]

    assert len(batches) == updates_per_epoch(batch, samples) == samples // batch
    assert all(len(each) == batch for each in batches)
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(samples))


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, epoch=st.integers(0, 9), world_size=st.integers(1, 8), per_replica=st.integers(1, 20))
def test_the_coverage_of_all_ranks_adds_up_to_that_of_the_global_batches(
    seed: int, epoch: int, world_size: int, per_replica: int
) -> None:
    size = world_size * per_replica
    batches = global_batches(seed, epoch, size, 400)
    shares = [share(rank, world_size, size) for rank in range(world_size)]
    hashes = [coverage([batch[own] for batch in batches], own.start) for own in shares]

    assert add_coverage(hashes) == add_coverage(reversed(hashes)) == coverage(batches)


@settings(deadline=None)
@given(seed=SEEDS, update=st.integers(0, 9), first=st.integers(0, 9), second=st.integers(0, 9))
def test_two_samples_that_change_places_change_the_coverage(seed: int, update: int, first: int, second: int) -> None:
    batches = [list(batch) for batch in global_batches(seed, 0, 10, 100)]
    before = coverage(batches)
    other = batches[(update + 1) % 10]
    batches[update][first], other[second] = other[second], batches[update][first]

    assert coverage(batches) != before


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS, epoch=st.integers(0, 50))
def test_other_epochs_and_other_seeds_have_other_orders_and_drop_other_samples(seed: int, epoch: int) -> None:
    def seen(seed: int, epoch: int) -> list[int]:
        return [sample for batch in global_batches(seed, epoch, 128, 1000) for sample in batch]

    assert seen(seed, epoch) == seen(seed, epoch)
    for other in (seen(seed, epoch + 1), seen(seed + 1, epoch)):
        assert other != seen(seed, epoch)
        assert set(other) != set(seen(seed, epoch))


def test_the_order_does_not_change_between_versions() -> None:
    assert list(global_batches(1, 0, 4, 10)[0]) == [8, 5, 9, 0]
    assert coverage([[5, 6], [7, 8]]) == "a37be4f2d2b6a4258f6589b038aefc16"
    assert add_coverage([]) == add_coverage([f"{0:032x}"]) == coverage([]) == "0" * 32


def test_an_epoch_of_mnist_in_batches_of_128_has_468_updates_and_drops_96_samples() -> None:
    assert updates_per_epoch(128) == 468
    assert TRAIN_SAMPLES - 468 * 128 == 96
