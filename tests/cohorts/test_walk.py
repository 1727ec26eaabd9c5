from relad_bids.cohorts.walk import training_order


def test_everyone_is_met_once_in_each_round():
    walk = training_order(7, 17, seed=4)
    assert len(walk) == 17
    assert sorted(walk[:7]) == sorted(walk[7:14]) == list(range(7))
    assert walk[:7] != walk[7:14]
    assert len(set(walk[14:])) == 3


def test_a_longer_walk_begins_like_a_shorter_one():
    assert training_order(7, 30, seed=4)[:17] == training_order(7, 17, seed=4)
    assert training_order(7, 17, seed=5) != training_order(7, 17, seed=4)
