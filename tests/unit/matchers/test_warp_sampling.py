import pytest
import torch

from gim.matchers.nn.refiner import texture_grid
from gim.matchers.nn.warp_sampling import BothWays, draw, kernel_density, sample_balanced

HEIGHT, WIDTH = 24, 40


def naive_density(points, std=0.1):
    """The formula, with its matrix of all pairs, in double precision."""
    squared = torch.cdist(points.double(), points.double()) ** 2
    return (-squared / (2 * std**2)).exp().sum(1)


def warps(certainty01=None, certainty10=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    flow01, flow10 = (torch.rand(2, HEIGHT, WIDTH, generator=generator) * 2 - 1 for _ in range(2))
    ones = torch.ones(HEIGHT, WIDTH)
    return BothWays(
        flow01, flow10, ones if certainty01 is None else certainty01, ones if certainty10 is None else certainty10
    )


def sample(both, num=200, threshold=0.05, seed=0):
    return sample_balanced(both, num, certainty_threshold=threshold, seed=seed)


@pytest.mark.parametrize("count", [1, 7, 512, 513, 1300])
def test_kernel_density_equals_the_formula(count):
    points = torch.rand(count, 4, generator=torch.Generator().manual_seed(1)) * 0.6 - 0.3
    torch.testing.assert_close(kernel_density(points).double(), naive_density(points), rtol=1e-4, atol=1e-4)


def test_kernel_density_of_far_points_is_their_own_and_of_equal_ones_their_number():
    points = torch.tensor([[1.0] * 4] * 3 + [[-1.0] * 4])
    torch.testing.assert_close(kernel_density(points), torch.tensor([3.0, 3.0, 3.0, 1.0]))


def test_draw_takes_each_index_once_and_none_of_weight_zero():
    weights = torch.tensor([0.0, 1.0, 0.0, 1e-7, 5.0, 1.0])
    drawn = draw(weights, 4, torch.Generator().manual_seed(0))
    assert sorted(drawn.tolist()) == [1, 3, 4, 5]
    assert sorted(draw(weights, 100, torch.Generator().manual_seed(0)).tolist()) == [1, 3, 4, 5]
    assert len(draw(torch.zeros(5), 3, torch.Generator())) == 0


def test_draw_follows_the_weights():
    weights = torch.tensor([1.0, 2.0, 5.0])
    generator = torch.Generator().manual_seed(0)
    firsts = torch.stack([draw(weights, 1, generator)[0] for _ in range(4000)])
    shares = torch.bincount(firsts, minlength=3) / len(firsts)
    torch.testing.assert_close(shares, weights / weights.sum(), atol=0.03, rtol=0)


def test_sample_takes_rows_of_both_warps_with_their_raw_certainty():
    generator = torch.Generator().manual_seed(3)
    certainties = [torch.rand(HEIGHT, WIDTH, generator=generator) for _ in range(2)]
    both = warps(*certainties)
    rows, certainty = sample(both)
    grid = texture_grid((HEIGHT, WIDTH), torch.device("cpu"))
    first = torch.cat([grid, both.flow01, certainties[0][None]]).flatten(1).T
    second = torch.cat([both.flow10, grid, certainties[1][None]]).flatten(1).T
    found = torch.cat([rows, certainty[:, None]], 1)
    of_first, of_second = ((found[:, None] == table[None]).all(2).any(1) for table in (first, second))
    assert len(rows) == 200
    assert (of_first | of_second).all()
    assert of_first.any()
    assert of_second.any()


def test_sample_has_no_row_twice_even_where_both_warps_say_the_same():
    grid = texture_grid((HEIGHT, WIDTH), torch.device("cpu"))
    same = BothWays(grid, grid, torch.ones(HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH))
    rows, _ = sample(same, num=2 * HEIGHT * WIDTH)
    assert len(rows) == HEIGHT * WIDTH
    assert len(torch.unique(rows, dim=0)) == len(rows)


def test_sample_leaves_out_places_of_no_certainty():
    certainty = torch.zeros(HEIGHT, WIDTH)
    certainty[5, 6] = 0.5
    rows, confidence = sample(warps(certainty, torch.zeros(HEIGHT, WIDTH)))
    assert confidence.tolist() == [0.5]
    assert len(sample(warps(torch.zeros(HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)))[0]) == 0
    assert rows.shape == (1, 4)


def test_sample_takes_places_over_the_threshold_alike_and_others_by_their_certainty():
    certainty = torch.full((HEIGHT, WIDTH), 0.06)
    certainty[:, WIDTH // 2 :] = 0.9
    below = torch.full((HEIGHT, WIDTH), 0.01)
    _, confidence = sample(warps(certainty, below), num=100)
    share = [(confidence - value).abs().lt(1e-6).float().mean() for value in (0.06, 0.9, 0.01)]
    assert 0.35 < share[0] < 0.65
    assert 0.35 < share[1] < 0.65
    assert share[2] < 0.1


def test_sample_is_balanced_between_a_crowd_and_the_rest_and_strays_come_last():
    """Places four times as dense in a corner as elsewhere, and a few alone: each region by its area, not its number."""
    grid = texture_grid((100, 100), torch.device("cpu"))
    certainty = torch.zeros(100, 100)
    certainty[::2, ::2] = 1
    certainty[:40, :40] = 1
    certainty[70:] = 0
    certainty[90, 90] = 1
    rows, _ = sample(BothWays(grid, grid, certainty, torch.zeros(100, 100)), num=500)
    is_crowd = (rows[:, :2] < -0.2).all(1)
    places = grid[:, certainty > 0]
    assert (places < -0.2).all(0).float().mean() > 0.5
    assert is_crowd.float().mean() < 0.35
    assert not (rows[:, 0] > 0.75).logical_and(rows[:, 1] > 0.75).any()


def test_sample_is_the_same_for_a_seed_and_another_for_another():
    first, again, other = sample(warps()), sample(warps()), sample(warps(), seed=1)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first[0], other[0])
