import numpy as np

from stanrovi.samplers.starts import chosen


def test_rows_are_different_where_a_few_have_all_the_weight():
    ratio = np.full(50, -1e6)
    ratio[:2] = 0.0
    rows = chosen(ratio, 4, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 4


def test_rejected_draws_are_not_chosen_and_few_are_taken_twice():
    ratio = np.full(50, -np.inf)
    ratio[[7, 9]] = 0.0
    assert set(chosen(ratio, 2, np.random.default_rng(0)).tolist()) == {7, 9}
    assert set(chosen(ratio, 6, np.random.default_rng(0)).tolist()) <= {7, 9}


def test_heavier_draws_are_chosen_more_often():
    ratio = np.where(np.arange(1000) < 100, np.log(20.0), 0.0)
    rows = np.concatenate([chosen(ratio, 4, np.random.default_rng(s)) for s in range(200)])
    assert 0.5 < (rows < 100).mean() < 0.8
