import numpy as np

from stanrovi.draws import Draws


def test_number_reads_attributes():
    x = {"x": np.zeros((1, 2))}
    assert Draws("vi", x, ("x",), attrs={"a": "1.5"}).number("a") == 1.5
    assert np.isnan(Draws("vi", x, ("x",), attrs={"a": "x"}).number("a"))
    assert np.isnan(Draws("vi", x, ("x",)).number("a"))
