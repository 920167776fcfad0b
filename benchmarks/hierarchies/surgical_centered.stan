// Surgical: deaths in 12 hospitals, log odds centred.
data {
  int<lower=0> N;
  array[N] int<lower=0> n;
  array[N] int<lower=0> r;
}
parameters {
  real mu;
  real<lower=0> sigma;
  vector[N] theta;
}
model {
  mu ~ normal(0, 2.5);
  sigma ~ normal(0, 1);
  theta ~ normal(mu, sigma);
  r ~ binomial_logit(n, theta);
}
