"""Which steps go first, and that hundreds of sessions cost no time at each turn."""

import time

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relad_bids.turns import Waiting, in_turn, sessions_in_turn


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda e: e[0] < e[1])))
def test_steps_wait_as_nipypes_matrix_says(edges):
    """Whatever the graph, and at every turn of it."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(8))
    graph.add_edges_from(edges)
    matrix = nx.to_scipy_sparse_array(graph, nodelist=range(8), format="lil", dtype=int)
    waiting = Waiting(graph, range(8))
    for job in range(8):
        np.testing.assert_array_equal(waiting.sum(0)[0], matrix.sum(0))
        assert waiting.sum(0)[0, job] == 0  # numbered in their order
        matrix[[job]] = 0
        waiting.finished(job)
        waiting.finished(job)  # told twice, counted once
    assert not waiting.sum(0).any()


def test_a_turn_with_500_sessions_takes_a_fraction_of_the_time_between_turns():
    """500 chains of 40 steps; Nipype asks twice each 0.1 s."""
    graph = nx.DiGraph((i, i + 1) for i in range(20_000) if i % 40 != 39)
    graph.add_nodes_from(range(20_000))
    waiting = Waiting(graph, range(20_000))
    start = time.process_time()
    for _ in range(10):
        assert np.count_nonzero(waiting.sum(0) == 0) == 500
    assert time.process_time() - start < 0.1  # 0.01 s a turn; measured 0.0001 s


def test_sessions_rank_as_they_first_appear():
    assert sessions_in_turn(["b", "b", "a", "b", "c"]) == [0, 0, 1, 0, 2]


JOBS = [5, 4, 3, 2, 1, 0]
RANKS = [0, 1, 0, 1, 0, 1]


def test_the_session_that_came_first_ends_first():
    assert in_turn(JOBS, RANKS, [False] * 6, busy=False) == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(("busy", "named"), [(False, [0, 2, 1, 3, 5]), (True, [2, 1, 3, 5])])
def test_one_step_is_named_for_a_gpu_that_is_free_and_none_for_one_at_work(busy, named):
    gpu = [True, False, False, False, True, False]
    assert in_turn(JOBS, RANKS, gpu, busy=busy) == named
