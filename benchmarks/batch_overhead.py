"""Overhead of batched gradients over the bare library.

Three ways to evaluate the same points on one thread: a bare loop over the
library's function pointer (arguments prepared, nothing else done), the batch
evaluator, and the client's own method. The overhead of the last two is what
their time exceeds the library's own, which a C loop gives where a C compiler
is there and the bare loop bounds from above elsewhere.

    python benchmarks/batch_overhead.py
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stanrovi.stan.model import Model

N_POINTS = 2000
REPEATS = 15
MODELS = ("bimodal_gaussian", "eight_schools", "kidscore", "garch")

C_LOOP = """
#include <stdbool.h>
typedef int (*F)(void*, bool, bool, const double*, double*, double*, char**);
int loop(F f, void* m, long n, long d, const double* x, double* lp, double* g, char** e) {
  int failed = 0;
  for (long i = 0; i < n; ++i) failed |= f(m, 1, 1, x + i * d, lp + i, g + i * d, e);
  return failed;
}
"""


def best_microseconds(work: Callable[[], object]) -> float:
    """Fastest of several runs, per point."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / N_POINTS


def pointer(model: Model) -> tuple[int, int]:
    client = model._evaluator._client
    function = ctypes.cast(client.stanlib.bs_log_density_gradient, ctypes.c_void_p).value
    assert function is not None
    return function, client.model


def bare_loop(model: Model, x: np.ndarray) -> Callable[[], object]:
    """Loop in Python over the function pointer that does nothing else."""
    address, handle = pointer(model)
    pointers = [ctypes.c_void_p] * 4
    function = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_bool, ctypes.c_bool, *pointers
    )(address)
    lp, gradient, message = np.empty(len(x)), np.empty_like(x), ctypes.c_void_p()
    row = x.strides[0]
    calls = [
        (handle, True, True, x.ctypes.data + row * i, lp.ctypes.data + 8 * i,
         gradient.ctypes.data + row * i, ctypes.addressof(message))
        for i in range(len(x))
    ]  # fmt: skip

    def run() -> None:
        for call in calls:
            function(*call)

    run.keep = (lp, gradient, message)  # type: ignore[attr-defined]
    return run


def c_loop(model: Model, x: np.ndarray, folder: Path) -> Callable[[], object] | None:
    """Loop in C, which is the library's own time, if a compiler is there."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source, library = folder / "loop.c", folder / "loop.so"
    if not library.exists():
        source.write_text(C_LOOP)
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    loop = ctypes.CDLL(str(library)).loop
    loop.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_long] * 2 + [ctypes.c_void_p] * 4
    address, handle = pointer(model)
    lp, gradient, message = np.empty(len(x)), np.empty_like(x), ctypes.c_void_p()
    return lambda: loop(
        address, handle, *x.shape, x.ctypes.data, lp.ctypes.data, gradient.ctypes.data,
        ctypes.addressof(message),
    )  # fmt: skip


def main() -> None:
    print("microseconds per gradient, one thread (threads: as chosen by the evaluator)")
    print(f"{'model':18s} {'d':>3s} {'C loop':>8s} {'bare':>8s} {'batch':>8s} {'client':>8s} "
          f"{'batch - C':>10s} {'threads':>12s}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model = Model(name, engine="stanli")
            x = np.random.default_rng(1).uniform(-1.0, 1.0, (N_POINTS, model.dim))
            evaluator = model._evaluator
            in_c = c_loop(model, x, Path(folder))
            library = best_microseconds(in_c) if in_c else float("nan")
            bare = best_microseconds(bare_loop(model, x))
            batch = best_microseconds(lambda x=x, e=evaluator: e.evaluate(x, threads=1))
            client = best_microseconds(
                lambda x=x, c=evaluator._client: [c.log_density_gradient(row) for row in x]
            )
            chosen = best_microseconds(lambda x=x, e=evaluator: e.evaluate(x))
            print(f"{name:18s} {model.dim:3d} {library:8.2f} {bare:8.2f} {batch:8.2f} "
                  f"{client:8.2f} {batch - library:10.2f} "
                  f"{chosen:8.2f} ({evaluator.threads(N_POINTS)})")  # fmt: skip


if __name__ == "__main__":
    main()
