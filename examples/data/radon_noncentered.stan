// Radon in houses: the effect of the floor varies by county; non-centred.
data {
  int<lower=1> N;
  int<lower=1> J;
  array[N] int<lower=1, upper=J> county;
  vector[N] floor;
  vector<lower=0>[N] activity;
}
parameters {
  real alpha;
  real mu;
  real<lower=0> tau;
  real<lower=0> sigma;
  vector[J] z;
}
transformed parameters {
  vector[J] beta = mu + tau * z;
}
model {
  alpha ~ normal(0, 5);
  mu ~ normal(0, 2);
  tau ~ normal(0, 1);
  sigma ~ normal(0, 1);
  z ~ std_normal();
  log(activity) ~ normal(alpha + beta[county] .* floor, sigma);
}
