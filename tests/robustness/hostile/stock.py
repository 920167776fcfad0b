"""Files and folders that earlier runs have made, for cases that damage them."""

from __future__ import annotations

NORMAL = "parameters { real x; real y; } model { x ~ std_normal(); y ~ normal(x, 1); }\n"
OTHER = "parameters { vector[3] z; } model { z ~ std_normal(); }\n"

# What is made by which command, from m.stan (NORMAL) and other.stan (OTHER).
COMMANDS = {
    "fit.nc": "fit m.stan --method gaussian --draws 200 --seed 1 --output fit.nc",
    "other.nc": "fit other.stan --method gaussian --draws 200 --seed 1 --output other.nc",
    "nuts.nc": "nuts m.stan --chains 2 --iter-warmup 100 --iter-sampling 100 --seed 1 "
    "--engine stanli --output nuts.nc",
    "csv": "nuts m.stan --chains 2 --iter-warmup 100 --iter-sampling 100 --seed 1 "
    "--engine stanli --csv csv",
    "inits": "fit m.stan --method gaussian --draws 200 --seed 1 --inits inits",
    "comparison": "compare m.stan --methods gaussian --draws 200 --seed 1 --chains 2 "
    "--iter-warmup 100 --iter-sampling 200 --nuts-engine stanli --output comparison",
    "bench": "bench m.stan --methods gaussian,mfvi --draws 200 --jobs 0 --output bench",
    "sbc": "sbc sbc_regression --method gaussian --simulations 10 --draws 50 --seed 1 "
    "--jobs 1 --output sbc",
}  # fmt: skip
FILES = {"m.stan": NORMAL, "other.stan": OTHER}
