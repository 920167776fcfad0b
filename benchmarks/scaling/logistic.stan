// A logistic regression with more observations than predictors.
data {
  int<lower=1> n;
  int<lower=1> d;
  matrix[n, d] x;
  array[n] int<lower=0, upper=1> y;
}
parameters {
  vector[d] beta;
}
model {
  beta ~ normal(0, 1);
  y ~ bernoulli_logit(x * beta);
}
