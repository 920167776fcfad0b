// Binomial logit of 100 small groups (simulated), log odds non-centred.
data {
  int<lower=1> J;
  array[J] int<lower=0> n;
  array[J] int<lower=0> y;
}
parameters {
  real mu;
  real<lower=0> tau;
  vector[J] theta_raw;
}
transformed parameters {
  vector[J] theta = mu + tau * theta_raw;
}
model {
  mu ~ normal(0, 1.5);
  tau ~ normal(0, 1);
  theta_raw ~ std_normal();
  y ~ binomial_logit(n, theta);
}
