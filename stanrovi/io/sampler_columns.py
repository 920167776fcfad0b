"""What Stan tells of the sampler with every draw."""

# Stan's columns of the sampler, in its order: ArviZ's names, and what they hold.
SAMPLER_COLUMNS: dict[str, tuple[str, type]] = {
    "lp__": ("lp", float),
    "accept_stat__": ("acceptance_rate", float),
    "stepsize__": ("step_size", float),
    "treedepth__": ("tree_depth", int),
    "n_leapfrog__": ("n_steps", int),
    "divergent__": ("diverging", bool),
    "energy__": ("energy", float),
}
