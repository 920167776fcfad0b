// Linear regression on an uncentred predictor, which simulates its own data:
// parameters and observations are drawn from the prior anew for every seed.
// Names with a trailing underscore follow Stan's conventions for
// simulation-based calibration.
data {
  int<lower=0> N;
  vector[N] x;
}
transformed data {
  real alpha_ = normal_rng(0, 1);
  real beta_ = normal_rng(0, 1);
  real sigma_ = lognormal_rng(0, 0.5);
  vector[N] y = to_vector(normal_rng(alpha_ + beta_ * x, sigma_));
}
parameters {
  real alpha;
  real beta;
  real<lower=0> sigma;
}
model {
  alpha ~ normal(0, 1);
  beta ~ normal(0, 1);
  sigma ~ lognormal(0, 0.5);
  y ~ normal(alpha + beta * x, sigma);
}
generated quantities {
  vector[3] pars_ = [alpha_, beta_, sigma_]';
  array[3] int ranks_ = {alpha > alpha_, beta > beta_, sigma > sigma_};
  vector[N] y_ = y;
}
