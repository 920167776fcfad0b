// One factor: loadings and scores may change their signs together.
data {
  int<lower=1> N;
  int<lower=1> P;
  matrix[N, P] y;
}
parameters {
  vector[P] loading;
  vector[N] score;
  real<lower=0> sigma;
}
model {
  loading ~ normal(0, 1);
  score ~ normal(0, 1);
  sigma ~ lognormal(-0.5, 0.5);
  for (p in 1 : P) {
    y[ : , p] ~ normal(score * loading[p], sigma);
  }
}
