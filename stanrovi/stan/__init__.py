"""Stan: engines, models, data."""

from stanrovi.stan.check import ModelCheck, check_model
from stanrovi.stan.model import Model

__all__ = ["Model", "ModelCheck", "check_model"]
