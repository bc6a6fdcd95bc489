import os
import signal

import pytest

from lookright.interruption import Interrupted, ending_at_sigterm, noticing_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_ends(number):
    before = signal.getsignal(number)
    with noticing_signals() as request:
        assert request.signal is None
        os.kill(os.getpid(), number)
        assert request.signal == number
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_sigterm_ends_as_ctrl_c_does():
    with pytest.raises(KeyboardInterrupt) as error, ending_at_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert error.value.exit_code == 143
