// Normal means of many groups, each seen once with known noise: a hierarchy, centred.
data {
  int<lower=1> groups;
  vector[groups] y;
  vector<lower=0>[groups] noise;
}
parameters {
  real mu;
  real<lower=0> tau;
  vector[groups] theta;
}
model {
  mu ~ normal(0, 5);
  tau ~ normal(0, 2);
  theta ~ normal(mu, tau);
  y ~ normal(theta, noise);
}
