import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.errors import ConfigError
from lrpath.planning.units import parse_updates, times, write_count
from tests.refusals import refused

PAPER_BATCH = 1_048_576  # 512 × 2,048 tokens per update


def parsed(text: int | str, *, tokens_per_update: int = PAPER_BATCH) -> int:
    return parse_updates(text, tokens_per_update=tokens_per_update, field="warmup")


@pytest.mark.parametrize(
    ("text", "updates"),
    [
        (0, 0),
        (300, 300),
        ("300", 300),
        ("1 update", 1),
        ("300 updates", 300),
        ("300updates", 300),
        ("2K steps", 2_000),
        ("  2K updates ", 2_000),
        ("2.5K", 2_500),
        ("1.001K updates", 1_001),  # 1.001 × 1000 is 1000.9999999999999 in floating point
        ("1_000", 1_000),
        ("1,000,000 updates", 1_000_000),
        ("9_007_199_254_740_993", 9_007_199_254_740_993),  # 2^53 + 1, which no float holds
        ("0 tokens", 0),
        ("1 token", None),
        ("524288 tokens", None),  # half an update is rounded to the even 0
        ("524289 tokens", 1),
        ("1_048_576 tokens", 1),
        ("1572864 tokens", 2),  # one and a half: to the even 2
        ("2B tokens", 1907),  # 1907.35
        ("10.5B tokens", 10_014),  # 10,013.58; the paper's increment
        ("1T tokens", 953_674),  # 953,674.32
    ],
)
def test_a_length_is_counted_in_updates(text: int | str, updates: int | None) -> None:
    if updates is None:
        with refused(ConfigError):
            parsed(text)
    else:
        assert parsed(text) == updates


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "updates", "ten", "nan", "inf", "10 epochs", "300 updates please", "5 k"),
        *("-1", "-3 tokens", "1e3", "0.5.1", ".5", "1__0", "1_00", "10,5B tokens", "٣"),
        *(True, False, 0.1, 1.0, None),
    ],
)
def test_what_is_no_length_is_refused(text: object) -> None:
    with refused(ConfigError):
        parsed(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0.1", "0.5 updates", "1.0001K updates"])
def test_a_share_of_a_horizon_is_refused(text: str) -> None:
    with refused(ConfigError):
        parsed(text)


@given(updates=st.integers(0, 10**15), tokens=st.integers(1, 10**9))
def test_whole_updates_written_in_tokens_are_exact(updates: int, tokens: int) -> None:
    assert parsed(f"{updates * tokens} tokens", tokens_per_update=tokens) == updates


@given(tokens=st.integers(0, 10**12), tokens_per_update=st.integers(1, 10**6))
def test_tokens_are_rounded_to_the_nearest_update(tokens: int, tokens_per_update: int) -> None:
    try:
        updates = parsed(f"{tokens:,} tokens", tokens_per_update=tokens_per_update)
    except ConfigError:
        assert 0 < 2 * tokens <= tokens_per_update
    else:
        assert abs(2 * (updates * tokens_per_update - tokens)) <= tokens_per_update


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1, "1"),
        (999, "999"),
        (999.4, "999"),
        (999.5, "1K"),
        (1_000, "1K"),
        (1_234, "1.23K"),
        (999_499, "999K"),
        (999_500, "1M"),
        (10_485_760_000, "10.5B"),
        (5e12, "5T"),
        (2.5e14, "250T"),
    ],
)
def test_a_count_is_written_with_three_digits(count: float, text: str) -> None:
    assert write_count(count) == text


@pytest.mark.parametrize(
    ("factor", "quantity", "product"),
    [
        ("1/2", 3e-4, 1.5e-4),
        (2, 3e-4, 6e-4),  # not 5.999…e-4, as a path id would see it
        ("10/143", 143_000, "10000 updates"),
        ("1/3", "30K updates", "10000 updates"),
        (0.005, 760, "4 updates"),  # 3.8
        (0, "300 updates", "0 updates"),
        (0.01, "240B tokens", "2400000000 tokens"),
    ],
)
def test_a_rate_or_a_length_may_be_multiplied(factor: str | float, quantity: str | float, product: str | float) -> None:
    assert times(factor, quantity) == product


@pytest.mark.parametrize(
    ("factor", "quantity"),
    [
        ("half", 1.0),
        ("1/0", 1.0),
        (-1, 1.0),
        (1, "long"),
        (1, True),
    ],
)
def test_a_product_of_something_else_is_refused(factor: str | float, quantity: str | float) -> None:
    with refused(ConfigError):
        times(factor, quantity)
