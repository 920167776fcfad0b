// Velocities of galaxies as a mixture of normals, whose labels carry no information.
data {
  int<lower=1> N;
  int<lower=1> K;
  vector[N] y;
}
parameters {
  simplex[K] share;
  vector[K] mu;
  real<lower=0> sigma;
}
model {
  share ~ dirichlet(rep_vector(2, K));
  mu ~ normal(20, 10);
  sigma ~ lognormal(0, 1);
  for (n in 1 : N) {
    vector[K] parts = log(share);
    for (k in 1 : K) {
      parts[k] += normal_lpdf(y[n] | mu[k], sigma);
    }
    target += log_sum_exp(parts);
  }
}
