import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrpath.planning.lineage import ID_DIGITS, canonical, content_id, differences

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
records = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=10
)


def test_the_order_of_fields_does_not_matter() -> None:
    assert canonical({"b": 1, "a": [1, 2]}) == canonical({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'


def test_the_order_of_a_list_matters() -> None:
    assert content_id([1, 2]) != content_id([2, 1])


def test_letters_beyond_ascii_are_written_as_they_are() -> None:
    assert canonical("α") == '"α"'


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"rate": float("nan")})


def test_an_id_is_the_beginning_of_a_sha_256_and_stays_the_same_for_ever() -> None:
    # printf '{"seed":1}' | sha256sum | head -c 12
    assert content_id({"seed": 1}) == "fbe47f6d82b4"
    assert len(content_id({"seed": 1})) == ID_DIGITS


@given(records)
def test_nothing_differs_from_itself(record: object) -> None:
    assert differences(record, record) == []


@given(st.dictionaries(st.text(), scalars), st.dictionaries(st.text(), scalars))
def test_records_without_differences_are_equal(before: dict[str, object], after: dict[str, object]) -> None:
    assert (differences(before, after) == []) == (before == after)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"seed": 1}, {"seed": 2}, ["seed: 1 → 2"]),
        ({"a": {"b": {"c": "x"}}}, {"a": {"b": {"c": "y"}}}, ["a.b.c: x → y"]),
        ({"a": 1}, {}, ["a: 1 → absent"]),
        ({}, {"a": None}, ["a: absent → null"]),
        ({"a": "absent"}, {}, ["a: absent → absent"]),
        ({"a": [1, 2, 3]}, {"a": [1, 5, 3]}, ["a[1]: 2 → 5"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["a[0].b: 1 → 2"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a: [1,2] → [1]"]),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),  # JSON has no tuples
        ({"a": {"b": 1}}, {"a": 1}, ['a: {"b":1} → 1']),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ["a: 1 → 2", "b: 1 → 2"]),
        ({"a": "x" * 60}, {"a": "x" * 61}, [f"a: {'x' * 60} → {'x' * 57}…"]),
    ],
)
def test_a_difference_names_its_field_and_both_values(before: object, after: object, lines: list[str]) -> None:
    assert differences(before, after) == lines
