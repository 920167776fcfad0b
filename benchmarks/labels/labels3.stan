// Three-component normal mixture: the posterior does not change when components are exchanged.
data {
  int<lower=1> N;
  vector[N] y;
}
parameters {
  vector[3] mu;
  vector<lower=0>[3] sigma;
  simplex[3] theta;
}
model {
  mu ~ normal(0, 5);
  sigma ~ lognormal(0, 1);
  theta ~ dirichlet(rep_vector(2, 3));
  for (n in 1 : N) {
    vector[3] terms = log(theta);
    for (k in 1 : 3) {
      terms[k] += normal_lpdf(y[n] | mu[k], sigma[k]);
    }
    target += log_sum_exp(terms);
  }
}
