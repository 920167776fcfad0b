// Radon: common intercept, floor effect varying by county, non-centred.
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
  vector[J] beta_raw;
}
transformed parameters {
  vector[J] beta = mu_beta + sigma_beta * beta_raw;
}
model {
  alpha ~ normal(0, 5);
  mu_beta ~ normal(0, 2);
  sigma_beta ~ normal(0, 1);
  sigma_y ~ normal(0, 1);
  beta_raw ~ std_normal();
  log_radon ~ normal(alpha + beta[county_idx] .* floor_measure, sigma_y);
}
