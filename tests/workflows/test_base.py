import networkx as nx
import pytest
from wiring import loose_wires

from relad_workflows.base import init_relad_wf


@pytest.fixture
def whole(card, config, unit):
    units = (unit(), unit(session="b", flair=False), unit("02", None), unit("0+2", "a"))
    return init_relad_wf(units, card=card, config=config), units


def test_no_wire_is_loose(whole):
    assert loose_wires(whole[0]) == []


def test_one_graph_per_session(whole):
    workflow, units = whole
    assert {node.name for node in workflow._graph.nodes()} == {u.graph_name for u in units}
    assert len(units) == len(workflow._graph.nodes())


def test_no_wire_leads_from_one_session_to_another(whole):
    """A session that fails must stop nobody else: each is an island of the whole graph."""
    workflow, units = whole
    assert list(workflow._graph.edges()) == []
    islands = list(nx.weakly_connected_components(workflow._create_flat_graph()))
    owners = [{node.fullname.split(".")[1] for node in island} for island in islands]
    assert sorted(next(iter(owner)) for owner in owners) == sorted(u.graph_name for u in units)
    assert all(len(owner) == 1 for owner in owners)


def test_it_works_where_the_settings_say(whole, config):
    assert whole[0].base_dir == str(config.work_dir)


def test_no_session_is_a_graph_too(card, config):
    assert len(init_relad_wf((), card=card, config=config)._graph) == 0
