import os
import signal
from argparse import Namespace

import pytest

from relad_bids.cli.outcome import Outcome, ended
from relad_bids.cli.run import run_command
from relad_bids.cli.stopping import SIGNALS, stoppable
from relad_bids.errors import Stopped
from relad_bids.sessions import Left, Unit


@pytest.fixture(autouse=True)
def _heard():
    """Whoever started the tests in the background may have had SIGINT ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


UNIT = Unit("01", "a", None, None, ())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_exception_and_its_code(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name) as caught, stoppable():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_cut_the_end_short():
    ends = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            ends.append("well")

    with pytest.raises(Stopped), stoppable():
        work()
    assert ends == ["well"]


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_handler_for_errors_takes_it_for_one():
    assert not issubclass(Stopped, Exception)


def test_the_command_says_that_it_was_stopped(capsys):
    def command(args):
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_command("relad-bids", command, Namespace()) == 143
    assert capsys.readouterr().err == "relad-bids: stopped by SIGTERM\n"


def test_a_stopped_session_is_named_and_rules_the_code():
    left = ended(UNIT, Stopped(signal.SIGTERM))
    assert left.flag == "stopped"
    assert "sub-01_ses-a" in left.label
    assert "SIGTERM" in left.reason
    other = Left("sub-02", "02", None, "failed", "reason", 65)
    assert Outcome((), (left, other)).exit_code() == 143
    assert Outcome((UNIT,), (left,)).last_line() == "1 done, 0 left out, 1 failed"


def test_a_full_work_folder_has_its_own_code():
    left = ended(UNIT, OSError(28, "No space left on device"))
    assert left.exit_code == 74
    assert "No space left" in left.reason
