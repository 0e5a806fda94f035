from types import SimpleNamespace

import pytest
import torch

from lecture4.data import Dataset, make_rings
from lecture4.training.datamodule import DataModule


def dataset(train=230, test=57):
    """Input i holds the number i, so that a batch says where its rows come from."""

    def part(n):
        return torch.arange(n, dtype=torch.float32)[:, None].expand(n, 2).clone(), torch.arange(
            n
        ) % 3

    return Dataset(["a", "b", "c"], *part(train), *part(test))


def module(rank=0, ranks=1, data=None, **settings):
    data = DataModule(data or dataset(), **{"val_size": 30, "batch_size": 16, **settings})
    if ranks > 1:
        data.trainer = SimpleNamespace(
            global_rank=rank,
            world_size=ranks,
            strategy=SimpleNamespace(root_device=torch.device("cpu")),
        )
    return data


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return [batch for chunk in loader for batch in chunk]


def batches_of(data, loader):
    """The batches of a loader, those of training out of their chunks."""
    return epoch(data) if loader == "train" else list(getattr(data, f"{loader}_dataloader")())


def indices(batches):
    return [batch[2].tolist() for batch in batches]


@pytest.mark.parametrize("number", [0, 5])
def test_an_epoch_serves_each_training_index_at_most_once(number):
    data = module()
    served = sum(indices(epoch(data, number)), [])
    assert len(served) == len(set(served)) == 192
    assert set(served) <= set(data.train_index.tolist())
    assert served != sorted(served)


def test_the_last_incomplete_batch_is_left_out():
    batches = epoch(module())
    assert [len(labels) for _, labels, _ in batches] == [16] * 12
    assert module().steps_per_epoch == 12


def test_epochs_leave_out_different_examples():
    data = module()
    left_out = [
        frozenset(data.train_index.tolist()) - set(sum(indices(epoch(data, n)), []))
        for n in range(5)
    ]
    assert all(len(some) == 8 for some in left_out)
    assert len(set(left_out)) == 5


@pytest.mark.parametrize("loader", ["train", "val", "test"])
def test_rows_belong_together(loader):
    data = module(eval_batch_size=16)
    source = data.dataset.test_labels if loader == "test" else data.dataset.train_labels
    for inputs, labels, index in batches_of(data, loader):
        assert torch.equal(inputs[:, 0].long(), index)
        assert torch.equal(labels, source[index])


def test_order_depends_on_seed_and_epoch_and_not_on_history():
    data = module(seed=3)
    loader = data.train_dataloader()
    orders = []
    for number in range(3):
        loader.sampler.set_epoch(number)
        orders.append(indices(batch for chunk in loader for batch in chunk))
        torch.rand(number + 1)
    torch.manual_seed(99)
    assert indices(epoch(module(seed=3), 2)) == orders[2]
    assert indices(epoch(module(seed=3), 0)) == orders[0]
    assert orders[0] != orders[1] != orders[2]


def test_another_seed_gives_another_split_and_order():
    first, second = module(seed=0), module(seed=1)
    assert not torch.equal(first.val_index, second.val_index)
    second.train_index = first.train_index
    assert indices(epoch(first)) != indices(epoch(second))


def test_an_epoch_is_a_fair_shuffle():
    """Where an example comes in an epoch is unrelated to where it came in the one before."""
    data = module(data=dataset(train=3030), batch_size=None)
    first, second = (torch.tensor(indices(epoch(data, n))[0]) for n in (0, 1))
    places = torch.stack([first.argsort(), second.argsort()]).double()
    assert abs(torch.corrcoef(places)[0, 1].item()) < 0.07
    against_data = torch.stack([torch.arange(3000).double(), first.double()])
    assert abs(torch.corrcoef(against_data)[0, 1].item()) < 0.07


@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_each_global_batch(ranks):
    alone = epoch(module(), 2)
    shares = [epoch(module(rank, ranks), 2) for rank in range(ranks)]
    assert all(len(share) == len(alone) for share in shares)
    for number, (inputs, labels, index) in enumerate(alone):
        for rank, share in enumerate(shares):
            assert torch.equal(share[number][0], inputs[rank::ranks])
            assert torch.equal(share[number][1], labels[rank::ranks])
            assert torch.equal(share[number][2], index[rank::ranks])
            assert len(share[number][2]) == 16 // ranks


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("loader", ["val", "test"])
def test_evaluation_serves_each_index_once_over_all_processes(loader, ranks):
    served = []
    steps = set()
    for rank in range(ranks):
        data = module(rank, ranks, batch_size=12, eval_batch_size=8)
        batches = indices(getattr(data, f"{loader}_dataloader")())
        served += sum(batches, [])
        steps.add(len(batches))
    expected = module().val_index.tolist() if loader == "val" else list(range(57))
    assert sorted(served) == expected
    assert len(served) == len(set(served))
    assert steps == {len(getattr(data, f"{loader}_dataloader")())}


def test_evaluation_is_in_order_in_batches_of_its_own_size():
    data = module(eval_batch_size=20)
    assert sum(indices(data.val_dataloader()), []) == data.val_index.tolist()
    assert [len(index) for index in indices(data.test_dataloader())] == [20, 20, 17]
    assert len(data.test_dataloader()) == 3


@pytest.mark.parametrize("batch_size", [None, 200, 10_000])
def test_a_full_batch(batch_size):
    data = module(batch_size=batch_size)
    batches = indices(epoch(data))
    assert len(batches) == data.steps_per_epoch == 1
    assert sorted(batches[0]) == data.train_index.tolist()
    assert data.batch_size == 200


def test_processes_that_do_not_divide_the_batch_are_told_what_does():
    with pytest.raises(ValueError, match=r"16 .* 3 processes; use data.batch_size=15"):
        module(0, 3).train_dataloader()
    assert len(indices(epoch(module(0, 3, batch_size=15)))[0]) == 5


@pytest.mark.parametrize("ranks", [2, 3, 7])
@pytest.mark.parametrize("batch_size", [1, 5, 11])
def test_the_suggested_batch_size_works(ranks, batch_size):
    data = module(0, ranks, batch_size=batch_size)
    if batch_size % ranks:
        with pytest.raises(ValueError, match="batch_size=") as caught:
            data.train_dataloader()
        batch_size = int(str(caught.value).rpartition("=")[2])
    assert len(indices(epoch(module(0, ranks, batch_size=batch_size)))[0]) == batch_size // ranks


@pytest.mark.parametrize("loader", ["train", "val", "test"])
def test_a_worker_process_gives_the_same_batches(loader):
    def batches(num_workers):
        data = module(num_workers=num_workers)
        return [[part.clone() for part in batch] for batch in batches_of(data, loader)]

    for here, there in zip(batches(0), batches(1), strict=True):
        assert all(map(torch.equal, here, there))


class Recorded(torch.Tensor):
    """A tensor that writes down what is done with it."""

    calls = []

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", str(function))
        if name != "__get__":
            cls.calls.append(name)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("loader", ["train", "val", "test"])
def test_a_batch_is_one_index_select(loader):
    plain = dataset()
    recorded = Dataset(
        plain.class_names,
        plain.train_inputs.as_subclass(Recorded),
        plain.train_labels,
        plain.test_inputs.as_subclass(Recorded),
        plain.test_labels,
    )
    data = module(data=recorded, eval_batch_size=10)
    Recorded.calls.clear()
    batches = batches_of(data, loader)
    fetches = [name for name in Recorded.calls if name in ("index_select", "__getitem__", "stack")]
    assert fetches == ["index_select"] * len(batches)
    assert set(Recorded.calls) <= {"index_select", "__len__", "size", "dim"}


def test_training_and_validation_are_disjoint():
    data = module()
    train, val = set(data.train_index.tolist()), set(data.val_index.tolist())
    assert not train & val
    assert len(train | val) == 230
    assert len(val) == 30


def test_a_wrong_validation_size_is_refused():
    with pytest.raises(ValueError, match="val_size=500"):
        module(val_size=500)


def test_serves_points_as_float32():
    inputs, labels, index = epoch(DataModule(make_rings(100, 20), val_size=10, batch_size=8))[0]
    assert (inputs.dtype, labels.dtype, index.dtype) == (torch.float32, torch.int64, torch.int64)


def test_a_sample_is_of_the_training_split_without_repetition_and_follows_its_key():
    data = DataModule(make_rings(train_size=100, test_size=10), val_size=20)
    drawn = data.sample(30, 0)
    assert len(drawn.unique()) == 30
    assert set(drawn.tolist()) <= set(data.train_index.tolist())
    assert torch.equal(data.sample(30, 0), drawn)
    assert not torch.equal(data.sample(30, 0, 1), drawn)
    assert len(data.sample(1000, 0)) == 80


@pytest.mark.parametrize(
    ("every_n_steps", "sizes"),
    [(None, [5, 5, 2]), (4, [4, 4, 4]), (7, [5, 2, 5]), (1, [1] * 12), (100, [5, 5, 2])],
)
def test_a_chunk_ends_where_a_checkpoint_is_due(monkeypatch, every_n_steps, sizes):
    monkeypatch.setattr("lecture4.training.datamodule.CHUNK", 5)
    data = module(every_n_steps=every_n_steps)
    chunks = list(data.train_dataloader())
    assert [len(chunk) for chunk in chunks] == sizes
    assert len(data.train_dataloader()) == len(sizes)
    assert indices(batch for chunk in chunks for batch in chunk) == indices(epoch(module()))


@pytest.mark.parametrize(
    ("most_bytes", "chunks", "batches"),
    [(3 * 16 * 8, [3] * 4, [25, 25, 7]), (1, [1] * 12, [1] * 57)],
)
def test_what_is_fetched_at_once_takes_bounded_memory(monkeypatch, most_bytes, chunks, batches):
    monkeypatch.setattr("lecture4.training.datamodule.MOST_BYTES", most_bytes)
    data = module(eval_batch_size=25)
    assert [len(chunk) for chunk in data.train_dataloader()] == chunks
    assert [len(labels) for _, labels, _ in data.test_dataloader()] == batches


@pytest.mark.parametrize(("share", "steps"), [(1, 12), (0.5, 6), (0.26, 3), (0.01, 1)])
def test_an_epoch_takes_a_share_of_its_batches_others_each_epoch(share, steps):
    data = module(train_share=share)
    assert data.steps_per_epoch == len(epoch(data)) == steps
    assert indices(epoch(data)) == indices(epoch(module()))[:steps]
    if share < 1:
        assert set(sum(indices(epoch(data, 0)), [])) != set(sum(indices(epoch(data, 1)), []))


def test_a_loader_continues_within_an_epoch(monkeypatch):
    monkeypatch.setattr("lecture4.training.datamodule.CHUNK", 5)
    first = module().train_dataloader()
    first.sampler.set_epoch(3)
    chunks = iter(first)
    begun = next(chunks)
    second = module().train_dataloader()
    second.load_state_dict(first.state_dict())
    second.sampler.set_epoch(3)  # as Lightning does
    rest = [batch for chunk in second for batch in chunk]
    assert indices([*begun, *rest]) == indices(epoch(module(), 3))
    second.sampler.set_epoch(4)
    assert indices(batch for chunk in second for batch in chunk) == indices(epoch(module(), 4))
