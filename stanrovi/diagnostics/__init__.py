"""What draws tell of themselves: ESS, R-hat, k-hat, whether a run may be trusted."""
