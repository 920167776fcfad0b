// Surgical: deaths in 12 hospitals, log odds non-centred.
data {
  int<lower=0> N;
  array[N] int<lower=0> n;
  array[N] int<lower=0> r;
}
parameters {
  real mu;
  real<lower=0> sigma;
  vector[N] theta_raw;
}
transformed parameters {
  vector[N] theta = mu + sigma * theta_raw;
}
model {
  mu ~ normal(0, 2.5);
  sigma ~ normal(0, 1);
  theta_raw ~ std_normal();
  r ~ binomial_logit(n, theta);
}
