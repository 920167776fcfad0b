// A level that walks, seen with errors.
data {
  int<lower=2> n;
  vector[n] y;
}
parameters {
  vector[n] level;
  real<lower=0> step;
  real<lower=0> error;
}
model {
  level[1] ~ normal(0, 2);
  level[2 : n] ~ normal(level[1 : n - 1], step);
  step ~ normal(0, 0.5);
  error ~ normal(0, 1);
  y ~ normal(level, error);
}
