"""What the fits are measured against: Langevin Monte Carlo, Laplace, CmdStan's VI."""
