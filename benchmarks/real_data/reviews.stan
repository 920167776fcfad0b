// Whether a review is the best there is, from the words in it: logistic regression.
data {
  int<lower=1> n;
  int<lower=1> p;
  matrix[n, p] x;
  array[n] int<lower=0, upper=1> y;
}
parameters {
  real intercept;
  real<lower=0> tau;
  vector[p] weight;
}
model {
  intercept ~ normal(0, 2);
  tau ~ normal(0, 1);
  weight ~ normal(0, tau);
  y ~ bernoulli_logit_glm(x, intercept, weight);
}
