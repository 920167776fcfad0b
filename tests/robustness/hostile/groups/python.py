"""Calls in Python with arguments that are no good: each must raise an error of stanrovi's own."""

from __future__ import annotations

from typing import Any

from hostile.case import Case
from hostile.files import Content, Folder, Stock

NORMAL = "parameters { real x; } model { x ~ std_normal(); }"
START = "import numpy as np, stanrovi as sr\n"
DRAWS = (
    START + "d = sr.Draws('nuts', {'x': np.random.default_rng(0).normal(size=(2, 50))}, ('x',))\n"
)
# Where NumPy raises at what it usually passes over; y overflows.
STRICT = (
    START
    + """np.seterr(all='raise')
fit = sr.fit('wide.stan', draws=200, seed=1)
run = sr.nuts('wide.stan', engine='stanli', chains=2, iter_warmup=99, iter_sampling=99, seed=1)
sr.write_report(sr.compare(fit, run), 'report.html')
print(fit.summary(), run.summary())
"""
)
WIDE = """parameters { real x; } model { x ~ cauchy(0, 1); }
generated quantities { real y = 1e308 * x; }
"""
MODEL = START + "m = sr.Model('m.stan')\n"


def call(
    name: str, script: str, says: str = ".", code: int | tuple[int, ...] = (1, 2), **rest: Any
) -> Case:
    """A call that must raise."""
    files: dict[str, Content] = {"m.stan": NORMAL, **rest.pop("files", {})}
    return Case(name, script, files, code, says, way="python", **rest)


EITHER = (0, 1, 2)
CASES = (
    *(call(f"from_arviz of {value}", f"{START}sr.from_arviz({value})")
      for value in ("None", "{}", "{'x': [1, 2]}", "3", "'nowhere.nc'", "np.zeros(3)", "[]")),
    *(call(f"write_report of {value}", f"{START}sr.write_report({value}, 'out')")
      for value in ("None", "{}", "'text'")),
    call("write_report nowhere", f"{DRAWS}sr.write_report(sr.compare(d, d), None)"),
    call("draws without variables", f"{START}sr.Draws('a', {{}}, ())", code=EITHER),
    call("draws in one dimension", f"{START}sr.Draws('a', {{'x': np.zeros(5)}}, ('x',))"),
    call("draws without dimensions", f"{START}sr.Draws('a', {{'x': np.float64(3)}}, ('x',))"),
    call("draws of no draws", f"{START}sr.Draws('a', {{'x': np.zeros((2, 0))}}, ('x',))"),
    call("draws of no chains", f"{START}sr.Draws('a', {{'x': np.zeros((0, 5))}}, ('x',))"),
    call("draws of text", f"{START}sr.Draws('a', {{'x': np.array([['a', 'b']])}}, ('x',))"),
    call("draws of objects", f"{START}sr.Draws('a', {{'x': np.array([[None, {{}}]])}}, ('x',))"),
    call("draws of lists", f"{START}sr.Draws('a', {{'x': [[1.0, 2.0]]}}, ('x',))", code=EITHER),
    call("draws of different shapes",
         f"{START}sr.Draws('a', {{'x': np.zeros((2, 5)), 'y': np.zeros((2, 6))}}, ('x', 'y'))"),
    call("draws without the parameter", f"{START}sr.Draws('a', {{'x': np.zeros((2, 5))}}, ('z',))"),
    call("draws with a number as a name", f"{START}sr.Draws('a', {{3: np.zeros((2, 5))}}, (3,))"),
    call("draws with a slash in a name",
         f"{START}sr.write_netcdf(sr.Draws('a', {{'a/b': np.zeros((2, 5))}}, ('a/b',)), 'out.nc')"),
    call("draws with an empty name",
         f"{START}sr.write_netcdf(sr.Draws('a', {{'': np.zeros((2, 5))}}, ('',)), 'out.nc')"),
    call("draws with a method that is none",
         f"{START}sr.Draws(None, {{'x': np.zeros((2, 5))}}, ('x',))",
         code=EITHER),
    call("attributes that are no scalars",
         f"{START}sr.write_netcdf(sr.Draws('a', {{'x': np.zeros((2, 5))}}, "
         "('x',), attrs={'a': {'b': object()}}), 'out.nc')"),
    call("attributes that are functions",
         f"{START}sr.write_netcdf(sr.Draws('a', {{'x': np.zeros((2, 5))}}, "
         "('x',), attrs={'a': print}), 'out.nc')"),
    call("attributes that are text",
         f"{START}sr.Draws('a', {{'x': np.zeros((2, 5))}}, ('x',), attrs='a')"),
    *(call(f"fit of {value}", f"{START}sr.fit({value})") for value in ("None", "3", "''", "[]",
          "object()", "b'x'")),
    *(call(f"fit with {words}", f"{MODEL}sr.fit(m, {words})") for words in (
        "seed=-1", "seed='a'", "seed=1.5", "seed=None, draws=0", "draws=-1", "draws='many'",
        "draws=1.5",
        "draws=float('nan')", "method='rvoi'", "method=3", "method=None", "max_seconds=0",
        "max_seconds='a'",
        "max_seconds=float('nan')", "max_gradients=-1", "max_gradients=1.5", "draws=True",
        "seed=2**64",
        "seed=[1]", "seed=np.array([1, 2])")),
    *(call(f"nuts with {words}", f"{MODEL}sr.nuts(m, engine='stanli', {words})") for words in (
        "chains=0", "chains=1.5", "chains='a'", "iter_sampling=0", "iter_warmup=-1",
        "adapt_delta=2",
        "adapt_delta='a'", "max_treedepth=0", "seed=-1", "chains=None",
        "iter_sampling=float('inf')")),
    call("nuts by an engine that is none", f"{MODEL}sr.nuts(m, engine='stan')"),
    call("sample with an infinite number of draws",
         f"{MODEL}sr.sample(m, ess=float('inf'), max_seconds=2)", asks=4),
    call("sample with no chains", f"{MODEL}sr.sample(m, chains=0)"),
    *(call(f"model of {value}", f"{START}sr.Model({value})") for value in (
        "None", "3", "''", "'nowhere.stan'", "b'm.stan'", "object()", "['m.stan']", "'.'",
        "'m.stan', data=3",
        "'m.stan', data=['a']", "'m.stan', data='{'", "'m.stan', data={'x': object()}",
        "'m.stan', engine='nowhere'")),
    # What the program does not declare is passed over.
    call("model of 'm.stan', data={3: 4}", f"{START}sr.Model('m.stan', data={{3: 4}})",
         code=EITHER),
    call("model of 'm.stan', data={'x': 1j}", f"{START}sr.Model('m.stan', data={{'x': 1j}})",
         code=EITHER),
    *(call(f"the density at {value}", f"{MODEL}m.log_density_gradient({value})") for value in (
        "np.zeros((1, 2))", "np.zeros(3)", "None", "'text'", "[[None]]", "np.zeros((2, 1, 1))",
        "[['a']]",
        "np.zeros((1, 1), complex)", "{}", "[[1], [1, 2]]")),
    *(call(f"constrain {value}", f"{MODEL}m.constrain({value})") for value in (
        "np.zeros((1, 2)), seed=1", "None, seed=1", "'text', seed=1", "np.zeros((1, 1)), seed=-1",
        "np.zeros((1, 1)), seed='a'",
        "np.zeros((1, 1)), seed=1.5", "[['a']], seed=1")),
    call("constrain nothing", f"{MODEL}m.constrain(np.zeros((0, 1)), seed=1)", code=EITHER),
    call("the density of nothing", f"{MODEL}m.log_density_gradient(np.zeros((0, 1)))", code=EITHER),
    call("the density at NaN", f"{MODEL}m.log_density_gradient([[float('nan')]])", code=EITHER),
    call("the density at infinity", f"{MODEL}m.log_density_gradient([[float('inf')]])",
         code=EITHER),
    *(call(f"compare {value}", f"{DRAWS}sr.compare({value})") for value in (
        "None, d", "d, None", "None, None", "3, 4", "d, 3", "'a', 'b'", "{}, {}", "[d], [d]")),
    *(call(f"read_draws {value}", f"{START}sr.read_draws({value})") for value in (
        "None", "3", "''", "'nowhere.nc'", "'.'", "b'm.stan'", "'m.stan'", "['m.stan']")),
    *(call(f"load_fit {value}", f"{START}sr.load_fit({value})") for value in ("None", "3", "''",
          "'nowhere.nc'", "'m.stan'")),
    call("load_fit of NUTS", f"{START}sr.load_fit('nuts.nc')", files={"nuts.nc": Stock("nuts.nc")}),
    *(call(f"write_netcdf {value}", f"{DRAWS}sr.write_netcdf({value})") for value in (
        "None, 'out.nc'", "d, None", "d, 3", "d, ''", "d, '.'", "3, 'out.nc'", "d, '/proc/out.nc'",
        "d, b'out.nc'")),
    call("write_netcdf into a folder that is none", f"{DRAWS}sr.write_netcdf(d, 'no/such/out.nc')"),
    call("write_netcdf over a folder", f"{DRAWS}sr.write_netcdf(d, 'out.nc', overwrite=True)",
         files={"out.nc": Folder()}),
    *(call(f"nuts_from_csv {value}", f"{MODEL}sr.nuts_from_csv({value})") for value in (
        "None, m", "'nowhere.csv', m", "'m.stan', m", "[], m", "3, m", "'m.stan', None")),
    *(call(f"to_arviz {value}", f"{START}sr.to_arviz({value})") for value in ("None", "3", "{}")),
    *(call(f"find_modes {value}", f"{MODEL}sr.find_modes({value})") for value in ("None", "3",
          "m, seed=-1", "m, seed='a'")),
    *(call(f"relabel {value}", f"{DRAWS}m = sr.Model('m.stan')\nsr.relabel({value})")
      for value in ("None, m", "3, m", "d, m", "d, None", "m, d")),
    call("where NumPy raises at overflow and underflow", STRICT, code=0, files={"wide.stan": WIDE},
         makes=("report.html",)),
    *(call(f"bench {value}", f"{START}sr.bench({value})") for value in (
        "None", "3", "['nowhere']", "['m.stan'], methods=['rvoi']", "['m.stan'], seeds=['a']",
        "['m.stan'], methods=[]",
        "[], methods=['gaussian']")),
    *(call(f"sbc {value}", f"{START}sr.sbc({value})") for value in ("None", "3", "'nowhere'",
          "'sbc_regression', simulations=0",
        "'sbc_regression', simulations='a'")),
    *(call(f"run_many {value}", f"{START}sr.run_many({value})")
      for value in ("None, []", "3, [3]", "print, 3", "print, [3]", "print, [None]",
      "'text', 'text'", "print, None")),
)  # fmt: skip
