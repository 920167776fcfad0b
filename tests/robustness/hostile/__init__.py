"""Hostile inputs by the hundred: what each is, how it is run, and what it may not do.

Every input is a :class:`hostile.case.Case`, data alone; the modules of :mod:`hostile.groups` hold
them. :mod:`hostile.nursery` starts each in a process of its own, :mod:`hostile.runner` lays its
folder, and :mod:`hostile.checks` looks at what became of it. `python tests/robustness/hostile`
runs them all and prints the table of ``docs/results/reliability.md``.
"""
