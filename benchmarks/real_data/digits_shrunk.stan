// As digits.stan, with a scale of its own for the weights of each pixel.
data {
  int<lower=1> n;
  int<lower=1> p;
  int<lower=2> classes;
  matrix[n, p] x;
  array[n] int<lower=1, upper=classes> y;
}
parameters {
  vector[classes] intercept;
  matrix[p, classes] weight;
  real<lower=0> tau;
  vector<lower=0>[p] scale;
}
model {
  intercept ~ std_normal();
  tau ~ normal(0, 1);
  scale ~ lognormal(log(tau), 0.5);
  for (j in 1:p) {
    weight[j] ~ normal(0, scale[j]);
  }
  y ~ categorical_logit_glm(x, intercept, weight);
}
