// Radon: common intercept, floor effect varying by county, centred.
data {
  int<lower=0> N;
  int<lower=0> J;
  array[N] int<lower=1, upper=J> county_idx;
  vector[N] floor_measure;
  vector[N] log_radon;
}
parameters {
  real alpha;
  real mu_beta;
  real<lower=0> sigma_beta;
  real<lower=0> sigma_y;
  vector[J] beta;
}
model {
  alpha ~ normal(0, 5);
  mu_beta ~ normal(0, 2);
  sigma_beta ~ normal(0, 1);
  sigma_y ~ normal(0, 1);
  beta ~ normal(mu_beta, sigma_beta);
  log_radon ~ normal(alpha + beta[county_idx] .* floor_measure, sigma_y);
}
