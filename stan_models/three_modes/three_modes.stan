// Three unit Gaussians in the plane.
data {
  array[3] vector[2] mu;
  simplex[3] w;
}
transformed data {
  vector[3] log_w = log(w);
}
parameters {
  vector[2] x;
}
model {
  vector[3] lp = log_w;
  for (k in 1 : 3) {
    lp[k] += std_normal_lpdf(x - mu[k]);
  }
  target += log_sum_exp(lp);
}
