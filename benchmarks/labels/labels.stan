// Normal mixture of K components: the posterior does not change when components are exchanged.
data {
  int<lower=1> N;
  int<lower=2> K;
  vector[N] y;
}
parameters {
  vector[K] mu;
  vector<lower=0>[K] sigma;
  simplex[K] theta;
}
model {
  mu ~ normal(0, 8);
  sigma ~ lognormal(0, 0.5);
  theta ~ dirichlet(rep_vector(3, K));
  for (n in 1 : N) {
    vector[K] terms = log(theta);
    for (k in 1 : K) {
      terms[k] += normal_lpdf(y[n] | mu[k], sigma[k]);
    }
    target += log_sum_exp(terms);
  }
}
