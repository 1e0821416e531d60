"""Work that threads do ahead of whoever asks for it: bounded, in order, and ended with the block that uses it.

Reading, decompressing, encoding and hashing release Python's lock, so that they overlap with each other and with what
is done with their results. What comes out is what would come out without threads, and so is an error: it is raised
where its result is asked for.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_END: Any = object()


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int | None = None
) -> Generator[Result, None, None]:
    """Yield what a function makes of each item, in the order of the items.

    Close the iterator (`contextlib.closing`) where it may be left before its end: what is running is then waited for,
    and what is not yet begun is left undone.

    Args:
        function: Called in the threads.
        items: Taken in the thread that asks for the results.
        threads: How many calls run at a time; with one, they run in the order of the items.
        ahead: Most items whose results are not asked for yet; as many as there are threads if it is left out.

    >>> list(in_order(abs, [-3, 2, -1], threads=2))
    [3, 2, 1]
    """
    most = threads if ahead is None else ahead
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_ahead(items: Iterable[Item], *, ahead: int) -> Generator[Item, None, None]:
    """Yield the items of an iterable, which one thread takes up to `ahead` of them before they are asked for.

    Close it where it may be left before its end, as `in_order`.

    >>> list(read_ahead("abc", ahead=2))
    ['a', 'b', 'c']
    """
    iterator = iter(items)
    results = in_order(lambda _: next(iterator, _END), repeat(None), threads=1, ahead=ahead)
    try:
        for item in results:
            if item is _END:
                return
            yield item
    finally:
        results.close()


def gathered(items: Iterable[Item], *, size_of: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    """Gather items into lists, each of which ends with the item that fills its size.

    >>> list(gathered(["one", "two", "three", "four"], size_of=len, size=5))
    [['one', 'two'], ['three'], ['four']]
    """
    found: list[Item] = []
    done = 0
    for item in items:
        found.append(item)
        done += size_of(item)
        if done >= size:
            yield found
            found, done = [], 0
    if found:
        yield found
