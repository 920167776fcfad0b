"""One thread in the linear algebra, so that results do not depend on how many there are.

BLAS splits a product of large matrices among its threads, and the order of the sums
with it: the last bits of a fit in a hundred dimensions would tell how many processors
the machine had free.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread while the block runs.

    The limit is one of the whole process: of two blocks at once in different Python
    threads, the first to end lifts it for the other.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
