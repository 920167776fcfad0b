// A logistic regression with more predictors than matter.
data {
  int<lower=1> n;
  int<lower=1> p;
  matrix[n, p] x;
  array[n] int<lower=0, upper=1> y;
}
parameters {
  real intercept;
  real<lower=0> tau;
  vector<lower=0>[p] lambda;
  vector[p] z;
}
model {
  intercept ~ normal(0, 5);
  tau ~ cauchy(0, 0.1);
  lambda ~ cauchy(0, 1);
  z ~ std_normal();
  y ~ bernoulli_logit(intercept + x * (tau * lambda .* z));
}
