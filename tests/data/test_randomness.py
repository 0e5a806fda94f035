import pytest
import torch

from lecture4.data.randomness import generator, mix, uniform

MASK = 2**64 - 1


def splitmix64(state):
    """One step of the published generator, in whole numbers."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference_mix(*words):
    key = 0
    for word in words:
        key = splitmix64((key + word) & MASK)
    return key


def unsigned(key):
    return int(key) & MASK


@pytest.mark.parametrize(
    ("seed", "first"), [(0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)]
)
def test_first_output_of_splitmix64(seed, first):
    assert unsigned(mix(seed)) == first == splitmix64(seed)


@pytest.mark.parametrize(
    "words", [(0, 0), (1, 2, 3), (2**62, -1), (-(2**63), 2**63 - 1), (42, 7, 49_999, 2)]
)
def test_mix_is_one_round_a_word(words):
    assert unsigned(mix(*words)) == reference_mix(*words)


def test_mix_of_a_tensor_is_that_of_its_elements():
    index = torch.tensor([[0, 5], [-3, 2**61]])
    keys = mix(9, index, 4)
    assert keys.dtype == torch.int64
    assert keys.shape == index.shape
    for i, key in zip(index.flatten().tolist(), keys.flatten(), strict=True):
        assert unsigned(key) == reference_mix(9, i, 4)


def test_a_plain_integer_and_a_tensor_of_it_have_the_same_key():
    for words in [(0,), (-5, 3), (2**63 - 1, 2**62)]:
        assert int(mix(*words)) == mix(*map(torch.tensor, words)).item()


def test_tensors_broadcast():
    keys = mix(torch.arange(3)[:, None], torch.arange(4))
    assert keys.shape == (3, 4)
    assert keys[2, 1] == mix(2, 1)


def test_order_and_number_of_words_matter():
    keys = [int(mix(*words)) for words in [(), (0,), (0, 0), (1, 2), (2, 1), (1,), (3,)]]
    assert len(set(keys)) == len(keys)


def test_no_collisions_among_a_million_keys():
    keys = mix(0, torch.arange(10)[:, None], torch.arange(100_000))
    assert len(keys.unique()) == 1_000_000


def test_bits_of_neighbouring_keys_are_even_and_unrelated():
    keys = mix(7, torch.arange(100_000))
    bits = (keys[:, None] >> torch.arange(64)) & 1
    assert (bits.double().mean(0) - 0.5).abs().max() < 0.01
    changed = bits[1:] ^ bits[:-1]
    assert (changed.double().mean(0) - 0.5).abs().max() < 0.01


def test_uniform_numbers_are_the_top_53_bits():
    u = uniform(torch.tensor([3, -8]), 2)
    assert u.dtype == torch.float64
    golden = 0x9E3779B97F4A7C15
    expected = [[(splitmix64(k + j * golden) >> 11) * 2.0**-53 for j in range(2)] for k in (3, -8)]
    assert u.tolist() == expected


def test_a_number_just_below_one_is_not_rounded_up():
    key = 7592147052848296246
    assert splitmix64(key) >> 39 == 2**25 - 1  # a float32 would round it to 1
    assert uniform(torch.tensor([key]), 1).item() < 1


def test_uniform_numbers_are_uniform():
    u = uniform(mix(1, torch.arange(200_000)), 3)
    assert u.min() >= 0
    assert u.max() < 1
    for column in u.unbind(1):
        counts = torch.histc(column, 100, 0, 1)
        chi_square = ((counts - 2000) ** 2 / 2000).sum().item()
        assert 50 < chi_square < 160  # 99 degrees of freedom


def test_draws_and_neighbours_are_uncorrelated():
    u = uniform(mix(1, torch.arange(200_000)), 3)
    columns = torch.cat([u[:-1], u[1:]], 1).T
    off_diagonal = torch.corrcoef(columns) - torch.eye(6)
    assert off_diagonal.abs().max() < 0.01


def test_a_draw_is_of_its_index_whatever_the_order():
    index = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    in_order = uniform(mix(3, 1, torch.arange(1000)), 2)
    assert torch.equal(uniform(mix(3, 1, index), 2), in_order[index])
    assert torch.equal(uniform(mix(3, 1, index[:7]), 2), in_order[index[:7]])


def test_first_draws_do_not_depend_on_how_many_are_taken():
    keys = mix(torch.arange(50))
    assert torch.equal(uniform(keys, 5)[:, :2], uniform(keys, 2))


def test_draws_do_not_read_or_move_torchs_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = uniform(mix(1, torch.arange(4)), 2), torch.rand(3, generator=generator(5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(100)
    again = uniform(mix(1, torch.arange(4)), 2), torch.rand(3, generator=generator(5, 6))
    assert all(map(torch.equal, first, again))


def test_generators_differ_by_words():
    draws = {torch.rand(1, generator=generator(*words)).item() for words in [(0,), (0, 0), (0, 1)]}
    assert len(draws) == 3
