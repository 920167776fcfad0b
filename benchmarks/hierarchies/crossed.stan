// Five crossed factors, each with a scale of its own (simulated), non-centred.
data {
  int<lower=0> N;
  array[5] int<lower=1> K;
  array[N, 5] int<lower=1> level;
  vector[N] y;
}
transformed data {
  array[5] int before;
  before[1] = 0;
  for (j in 2 : 5) {
    before[j] = before[j - 1] + K[j - 1];
  }
}
parameters {
  real mu;
  vector<lower=0>[5] sd;
  real<lower=0> sigma;
  vector[sum(K)] z;
}
transformed parameters {
  vector[sum(K)] effect;
  for (j in 1 : 5) {
    for (k in 1 : K[j]) {
      effect[before[j] + k] = sd[j] * z[before[j] + k];
    }
  }
}
model {
  vector[N] mean = rep_vector(mu, N);
  mu ~ normal(0, 3);
  sd ~ student_t(3, 0, 1);
  sigma ~ normal(0, 2);
  z ~ std_normal();
  for (n in 1 : N) {
    for (j in 1 : 5) {
      mean[n] += effect[before[j] + level[n, j]];
    }
  }
  y ~ normal(mean, sigma);
}
