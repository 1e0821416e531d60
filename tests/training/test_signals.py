import signal
from collections.abc import Iterator

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


def of_submitit(number: int, frame: object) -> None:
    """Exit as submitit's own handler does after it has put the job into the queue again."""
    raise SystemExit(f"requeued after signal {number}")


def not_again(number: int, frame: object) -> None:
    raise RuntimeError("Job not requeued because: timed-out too many times.")


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be a job of submitit."""
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.delenv("SUBMITIT_PREEMPT_SIGNAL", raising=False)
    before = signal.signal(signal.SIGUSR2, of_submitit)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.parametrize("first", [(), (signal.SIGTERM,)], ids=["time limit", "preemption"])
def test_submitit_puts_a_job_into_the_queue_again_after_its_state_is_saved(
    job: None, first: tuple[signal.Signals, ...]
) -> None:
    saved: list[int] = []

    def fit() -> None:
        recorder = SignalRecorder(launched=True)
        with signals.raise_on_signal(), recorder.recording():
            for number in (*first, signal.SIGUSR2):
                signal.raise_signal(number)
            saved.append(recorder.number)
            raise StoppedError("its state is saved", signal_number=(*first, signal.SIGUSR2)[0])

    with pytest.raises(SystemExit, match=f"requeued after signal {signal.SIGUSR2:d}"):
        fit()

    assert saved == [signal.SIGUSR2]
    assert signal.getsignal(signal.SIGUSR2) is of_submitit


def test_a_job_that_submitit_starts_no_more_says_how_to_go_on(job: None) -> None:
    signal.signal(signal.SIGUSR2, not_again)

    with refused(StoppedError), signals.raise_on_signal():
        signal.raise_signal(signal.SIGUSR2)


def test_another_signal_to_a_job_of_submitit_ends_it(job: None) -> None:
    with refused(StoppedError), signals.raise_on_signal():
        signal.raise_signal(signal.SIGTERM)


def test_the_signal_of_submitit_is_that_of_its_own_handlers(job: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMITIT_PREEMPT_SIGNAL", "USR1")

    assert signals.stopping_signals() == STOPPING
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    assert signals.stopping_signals() == STOPPING
