import signal

import pytest

from lrpath.errors import StoppedError
from lrpath.training.distributed import signals
from lrpath.training.distributed.signals import STOPPING, SignalRecorder
from tests.refusals import refused


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOPPING]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_raised_where_nothing_is_to_be_saved_first(number: signal.Signals) -> None:
    before = handlers()

    with refused(StoppedError), signals.raise_on_signal():
        signal.raise_signal(number)

    assert handlers() == before


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_recorded_in_a_fit(number: signal.Signals) -> None:
    before, recorder = handlers(), SignalRecorder(launched=False)

    with recorder.recording():
        signal.raise_signal(number)

    assert (recorder.number, handlers()) == (number, before)


def test_a_second_signal_ends_a_fit_at_once() -> None:
    recorder = SignalRecorder(launched=False)

    with recorder.recording():
        signal.raise_signal(signal.SIGINT)
        with refused(StoppedError):
            signal.raise_signal(signal.SIGTERM)


def test_a_warning_before_a_time_limit_is_never_the_second_signal() -> None:
    recorder = SignalRecorder(launched=False)

    with recorder.recording():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)

    assert recorder.number == signal.SIGTERM


def test_a_launcher_that_repeats_a_signal_sends_one() -> None:
    recorder = SignalRecorder(launched=True)

    with recorder.recording():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    assert recorder.number == signal.SIGTERM


def test_a_process_that_ends_ignores_signals_for_good() -> None:
    before = handlers()
    try:
        with signals.raise_on_signal():
            signals.ignore_signals()
            signal.raise_signal(signal.SIGTERM)

        assert handlers() == [signal.SIG_IGN] * len(STOPPING)
    finally:
        for number, handler in zip(STOPPING, before, strict=True):
            signal.signal(number, handler)  # type: ignore[arg-type]


def test_a_signal_within_a_finalizer_is_not_lost() -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def finalize() -> None:
        Finalized()
        signal.sigtimedwait([], 30)  # until the signal comes again

    with refused(StoppedError), signals.raise_on_signal():
        finalize()
