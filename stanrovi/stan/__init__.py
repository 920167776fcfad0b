"""Stan: programs, data, engines, models."""
