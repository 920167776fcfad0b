// A network of H hidden units: exchanged, and each with its signs turned, they say the same.
data {
  int<lower=1> N;
  int<lower=1> H;
  vector[N] x;
  vector[N] y;
}
parameters {
  vector[H] w;
  vector[H] b;
  vector[H] v;
  real c;
  real<lower=0> sigma;
}
model {
  w ~ normal(0, 3);
  b ~ normal(0, 3);
  v ~ normal(0, 3);
  c ~ normal(0, 3);
  sigma ~ lognormal(-1, 0.5);
  for (n in 1 : N) {
    y[n] ~ normal(c + dot_product(v, tanh(w * x[n] + b)), sigma);
  }
}
