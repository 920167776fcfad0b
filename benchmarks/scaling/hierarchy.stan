// A regression with an effect of each group, non-centred.
data {
  int<lower=1> n;
  int<lower=1> groups;
  int<lower=0> k;
  array[n] int<lower=1, upper=groups> group;
  matrix[n, k] x;
  vector[n] y;
}
parameters {
  real mu;
  vector[k] beta;
  real<lower=0> tau;
  real<lower=0> sigma;
  vector[groups] z;
}
model {
  mu ~ normal(0, 5);
  beta ~ normal(0, 2.5);
  tau ~ normal(0, 1);
  sigma ~ normal(0, 1);
  z ~ std_normal();
  vector[groups] effect = mu + tau * z;
  y ~ normal(effect[group] + x * beta, sigma);
}
