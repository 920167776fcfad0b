"""Folders in the layout of posteriordb, made up: tiny normal models whose posterior is exact."""

import json
import zipfile
from pathlib import Path

import numpy as np

LINE = """\
data {
  int<lower=0> N;
  vector[N] x;
  vector[N] y;
}
parameters {
  real alpha;
  real beta;
}
model {
  alpha ~ normal(0, 2);
  beta ~ normal(0, 2);
  y ~ normal(alpha + beta * x, 1);
}
"""
CENTER = """\
data {
  int<lower=0> N;
  matrix[N, 2] y;
}
parameters {
  vector[2] mu;
}
model {
  mu ~ normal(0, 2);
  for (n in 1 : N)
    y[n]' ~ normal(mu, 1);
}
"""
LINE_DATA = {
    "N": 6,
    "x": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5],
    "y": [0.3, 1.1, 0.8, 2.2, 1.9, 3.1],
}
CENTER_DATA = {"N": 4, "y": [[0.1, 1.2], [-0.4, 0.7], [0.8, 1.9], [0.3, 1.0]]}


def line_posterior():
    """Mean (2,) and covariance (2, 2) of alpha and beta."""
    design = np.column_stack([np.ones(LINE_DATA["N"]), LINE_DATA["x"]])
    return _posterior(design, np.array(LINE_DATA["y"]))


def center_posterior():
    """Mean (2,) and covariance (2, 2) of mu."""
    design = np.kron(np.ones((CENTER_DATA["N"], 1)), np.eye(2))
    return _posterior(design, np.ravel(CENTER_DATA["y"]))


def _posterior(design, y):
    covariance = np.linalg.inv(design.T @ design + np.eye(2) / 4)
    return covariance @ design.T @ y, covariance


def exact_chains(names, mean, covariance, chains=4, draws=500):
    """Independent draws of a normal distribution, as posteriordb stores them."""
    rng = np.random.default_rng(17)
    values = rng.multivariate_normal(mean, covariance, (chains, draws))
    return [
        {name: chain[:, i].tolist() for i, name in enumerate(names)} for chain in values
    ]  # fmt: skip


def write_json(path, content):
    """Write JSON, or what is text as it is; into an archive of one file where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem, text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def add_model(root, name, program):
    """Add a Stan program and the information on it."""
    path = root / "models" / "stan" / f"{name}.stan"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program, encoding="utf-8")
    code = {"stan": {"model_code": f"models/stan/{name}.stan", "stan_version": ">=2.26.0"}}
    info = {"name": name, "model_implementations": code}
    write_json(root / "models" / "info" / f"{name}.info.json", info)


def add_data(root, name, data, *, zipped=False):
    """Add data and the information on them; without the file where the data are None."""
    info = {"name": name, "data_file": f"data/data/{name}.json"}
    write_json(root / "data" / "info" / f"{name}.info.json", info)
    if data is not None:
        write_json(root / "data" / "data" / f"{name}.json{'.zip' if zipped else ''}", data)


def add_reference(root, name, chains, *, zipped=False):
    """Add reference draws and the information on them."""
    folder = root / "reference_posteriors" / "draws"
    write_json(folder / "info" / f"{name}.info.json", {"name": name})
    write_json(folder / "draws" / f"{name}.json{'.zip' if zipped else ''}", chains)


def add_posterior(root, name, model=None, data=None, reference=None, **others):
    """Add an entry."""
    entry = {"name": name, "model_name": model, "data_name": data}
    entry |= {"reference_posterior_name": reference} | others
    write_json(root / "posteriors" / f"{name}.json", entry)


def fabricated_posteriordb(folder) -> Path:
    """Fill a folder as a checkout of posteriordb; return its folder ``posterior_database``.

    - ``line-line``, alias ``line``: data and reference draws zipped;
    - ``center-center``: both plain;
    - ``center-center_alone``: no reference draws;
    - ``gone-line``: the file of its data is missing;
    - ``line-unfinished``: the program does not compile;
    - ``broken``: its JSON ends early.
    """
    root = Path(folder) / "posterior_database"
    add_model(root, "line", LINE)
    add_model(root, "center", CENTER)
    add_model(root, "center_alone", CENTER)
    add_model(root, "unfinished", LINE.removesuffix("}\n"))
    add_data(root, "line", LINE_DATA, zipped=True)
    add_data(root, "center", CENTER_DATA)
    add_data(root, "gone", None)
    line = exact_chains(["alpha", "beta"], *line_posterior())
    add_reference(root, "line-line", line, zipped=True)
    add_reference(root, "center-center", exact_chains(["mu[1]", "mu[2]"], *center_posterior()))
    add_posterior(root, "line-line", "line", "line", "line-line")
    add_posterior(root, "center-center", "center", "center", "center-center")
    add_posterior(root, "center-center_alone", "center_alone", "center")
    add_posterior(root, "gone-line", "line", "gone")
    add_posterior(root, "line-unfinished", "unfinished", "line", "line-line")
    write_json(root / "posteriors" / "broken.json", '{"name": "broken", "model_name": ')
    write_json(root / "alias" / "posteriors.json", {"line": "line-line"})
    return root
