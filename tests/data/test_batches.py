"""Which examples a batch holds, in which order, and where a chunk of batches ends."""

import pytest
import torch

from lecture4.data.batches import InOrder, Loader, ResumableLoader, Rows, Shuffled

INDEX = torch.arange(100, 199)  # 99 examples: 12 batches of 8, and three examples left


def shuffled(rank=0, ranks=1, **options) -> Shuffled:
    return Shuffled(INDEX, 8, rank, ranks, **options)


def batches(sampler) -> list[list[int]]:
    return [batch.tolist() for chunk in sampler for batch in chunk]


def test_in_order_every_example_is_served_once():
    served = [batch.tolist() for batch in InOrder(INDEX, 8)]
    assert sum(served, []) == INDEX.tolist()
    assert len(served) == len(InOrder(INDEX, 8)) == 13


def test_shuffled_serves_full_batches_without_repetition():
    served = batches(shuffled())
    assert [len(batch) for batch in served] == [8] * 12
    assert len(set(sum(served, []))) == 96
    assert set(sum(served, [])) <= set(INDEX.tolist())


@pytest.mark.parametrize("every_n_steps", [None, 1, 4, 5, 7, 12, 50])
@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
def test_chunks_divide_the_epoch_and_end_at_each_checkpoint(chunk, every_n_steps):
    sampler = shuffled(chunk=chunk, every_n_steps=every_n_steps)
    assert batches(sampler) == batches(shuffled())
    ends = [part.stop for part in sampler.chunks]
    assert [part.start for part in sampler.chunks] == [0, *ends[:-1]]
    assert all(0 < part.stop - part.start <= chunk for part in sampler.chunks)
    assert ends[-1] == sampler.steps == 12
    assert set(range(every_n_steps or 12, 13, every_n_steps or 12)) <= set(ends)


@pytest.mark.parametrize(("share", "steps"), [(1.0, 12), (0.5, 6), (0.3, 3), (0.001, 1)])
def test_a_share_takes_the_first_batches_of_the_order(share, steps):
    assert batches(shuffled(share=share)) == batches(shuffled())[:steps]


def test_the_order_depends_on_seed_and_epoch():
    orders = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        sampler = shuffled(seed=seed)
        sampler.set_epoch(epoch)
        orders.append(batches(sampler))
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_out_each_batch(ranks):
    shares = [batches(shuffled(rank, ranks, chunk=5)) for rank in range(ranks)]
    for number, batch in enumerate(batches(shuffled())):
        assert [share[number] for share in shares] == [batch[r::ranks] for r in range(ranks)]


def test_ranks_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match=r"batch of 8 .* 3 processes; use data.batch_size=6"):
        shuffled(0, 3)


def rows() -> Rows:
    return Rows(torch.arange(200.0)[:, None], torch.arange(200) % 3)


def test_a_loader_gives_inputs_labels_and_index_of_each_batch():
    for inputs, labels, index in Loader(rows(), InOrder(INDEX, 8)):
        assert torch.equal(inputs[:, 0].long(), index)
        assert torch.equal(labels, index % 3)


def resumable(**options) -> ResumableLoader:
    return ResumableLoader(rows(), shuffled(**options))


@pytest.mark.parametrize("chunks", [0, 1, 2, 4])
def test_a_loader_continues_after_the_batches_of_its_state(chunks):
    first, whole = resumable(chunk=3), [b[2].tolist() for c in resumable(chunk=3) for b in c]
    begun = iter(first)
    done = [batch[2].tolist() for _ in range(chunks) for batch in next(begun)]
    assert first.state_dict() == {"epoch": 0, "batches": 3 * chunks}
    second = resumable(chunk=3)
    second.load_state_dict(first.state_dict())
    assert done + [batch[2].tolist() for chunk in second for batch in chunk] == whole


def test_a_state_between_two_ends_of_chunks_is_refused():
    with pytest.raises(ValueError, match="after 4 batches .* from the end of an epoch"):
        resumable(chunk=3).load_state_dict({"epoch": 0, "batches": 4})
    other = resumable(chunk=2)
    other.load_state_dict({"epoch": 0, "batches": 4})
    assert len([chunk for chunk in other]) == 4
