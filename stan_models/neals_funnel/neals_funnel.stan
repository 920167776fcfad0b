// Neal's funnel: the scale of every x is set by y.
data {
  int<lower=1> D;
}
parameters {
  real y;
  vector[D] x;
}
model {
  y ~ normal(0, 3);
  x ~ normal(0, exp(y / 2));
}
