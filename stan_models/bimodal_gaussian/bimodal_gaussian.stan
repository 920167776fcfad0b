// Two unit Gaussians at (-m, -m) and (m, m), the first with weight w.
data {
  real m;
  real<lower=0, upper=1> w;
}
parameters {
  vector[2] x;
}
model {
  target += log_mix(w, std_normal_lpdf(x + m), std_normal_lpdf(x - m));
}
