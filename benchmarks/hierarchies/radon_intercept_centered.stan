// Radon: varying intercept by county, common floor effect, centred.
data {
  int<lower=0> N;
  int<lower=0> J;
  array[N] int<lower=1, upper=J> county_idx;
  vector[N] floor_measure;
  vector[N] log_radon;
}
parameters {
  real mu_alpha;
  real<lower=0> sigma_alpha;
  real beta;
  real<lower=0> sigma_y;
  vector[J] alpha;
}
model {
  mu_alpha ~ normal(0, 5);
  sigma_alpha ~ normal(0, 1);
  beta ~ normal(0, 2);
  sigma_y ~ normal(0, 1);
  alpha ~ normal(mu_alpha, sigma_alpha);
  log_radon ~ normal(alpha[county_idx] + beta * floor_measure, sigma_y);
}
