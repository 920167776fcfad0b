import numpy as np

import stanrovi as sr
from stanrovi.runs.record import constrained

PROGRAM = """
data { int N; vector[N] y; }
parameters { real<lower=0> s; matrix[2, 3] a; simplex[3] p; cholesky_factor_corr[2] L; }
transformed parameters { real twice = 2 * s; }
model { s ~ exponential(1); to_vector(a) ~ std_normal(); y ~ normal(a[1, 2], s); }
generated quantities { real noise = normal_rng(0, 1); }
"""


def model(tmp_path, y=(1.0, 2), name="m.stan", program=PROGRAM):
    path = tmp_path / name
    path.write_text(program, encoding="utf-8")
    return sr.Model(path, {"N": len(y), "y": list(y)})


def test_scalars_are_the_parameters_under_their_names(tmp_path):
    built = model(tmp_path)
    x = np.random.default_rng(0).normal(size=(7, built.dim))
    draws = sr.Draws("any", constrained(built, x[None], seed=1), built.parameters)
    values = built.scalars.of(x)
    assert built.scalars.names == tuple(draws.scalars())
    for column, (name, expected) in zip(values.T, draws.scalars().items(), strict=True):
        np.testing.assert_allclose(column, expected[0], err_msg=name)


def test_hashes_know_values_and_code_but_not_how_they_were_given(tmp_path):
    first = model(tmp_path).hashes
    assert model(tmp_path, (1, 2.0), "again.stan").hashes == first
    other = model(tmp_path, (1.0, 2.5)).hashes
    assert other["program_hash"] == first["program_hash"]
    assert other["data_hash"] != first["data_hash"]
    edited = model(
        tmp_path, name="e.stan", program=PROGRAM.replace("exponential(1)", "gamma(2, 1)")
    )
    assert edited.hashes["program_hash"] != first["program_hash"]
    assert edited.hashes["data_hash"] == first["data_hash"]


def test_the_seed_of_random_transformed_data_is_part_of_the_hash_of_data(write):
    drawn = write(
        "drawn.stan",
        "transformed data { real m = normal_rng(0, 1); } parameters { real x; } "
        "model { x ~ normal(m, 1); }",
    )
    given = write("given.stan", "parameters { real x; } model { x ~ normal(0, 1); }")
    assert sr.Model(drawn, seed=1).hashes == sr.Model(drawn, seed=1).hashes
    assert sr.Model(drawn, seed=1).hashes != sr.Model(drawn, seed=2).hashes
    assert sr.Model(given, seed=1).hashes == sr.Model(given, seed=2).hashes
