// Binomial logit of 30 small groups (simulated), log odds centred.
data {
  int<lower=1> J;
  array[J] int<lower=0> n;
  array[J] int<lower=0> y;
}
parameters {
  real mu;
  real<lower=0> tau;
  vector[J] theta;
}
model {
  mu ~ normal(0, 1.5);
  tau ~ normal(0, 1);
  theta ~ normal(mu, tau);
  y ~ binomial_logit(n, theta);
}
