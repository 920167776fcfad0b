// Logistic regression with intercept and two slopes that vary by group, each with a scale of
// its own (simulated), non-centred.
data {
  int<lower=0> N;
  int<lower=1> G;
  array[N] int<lower=1, upper=G> g;
  matrix[N, 3] X;
  array[N] int<lower=0, upper=1> y;
}
parameters {
  vector[3] mu;
  vector<lower=0>[3] tau;
  matrix[3, G] b_raw;
}
transformed parameters {
  matrix[3, G] b;
  for (k in 1 : 3) {
    b[k] = mu[k] + tau[k] * b_raw[k];
  }
}
model {
  vector[N] eta;
  mu ~ normal(0, 1.5);
  tau ~ exponential(1.5);
  to_vector(b_raw) ~ std_normal();
  for (n in 1 : N) {
    eta[n] = X[n] * b[, g[n]];
  }
  y ~ bernoulli_logit(eta);
}
