// K Gaussians in D dimensions with one common covariance L * L'.
data {
  int<lower=1> K;
  int<lower=1> D;
  array[K] vector[D] mu;
  simplex[K] w;
  cholesky_factor_cov[D] L;
}
transformed data {
  vector[K] log_w = log(w);
}
parameters {
  vector[D] x;
}
model {
  vector[K] lp = log_w;
  for (k in 1 : K) {
    lp[k] += multi_normal_cholesky_lpdf(x | mu[k], L);
  }
  target += log_sum_exp(lp);
}
