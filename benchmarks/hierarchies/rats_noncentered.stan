// Rats: growth of 30 rats, varying intercepts and slopes, non-centred.
data {
  int<lower=0> N;
  int<lower=0> Npts;
  array[Npts] int<lower=1, upper=N> rat;
  vector[Npts] x;
  vector[Npts] y;
  real xbar;
}
transformed data {
  vector[Npts] x_c = x - xbar;
}
parameters {
  real mu_alpha;
  real mu_beta;
  real<lower=0> sigma_alpha;
  real<lower=0> sigma_beta;
  real<lower=0> sigma_y;
  vector[N] alpha_raw;
  vector[N] beta_raw;
}
transformed parameters {
  vector[N] alpha = mu_alpha + sigma_alpha * alpha_raw;
  vector[N] beta = mu_beta + sigma_beta * beta_raw;
}
model {
  mu_alpha ~ normal(250, 100);
  mu_beta ~ normal(5, 5);
  sigma_alpha ~ normal(0, 50);
  sigma_beta ~ normal(0, 2);
  sigma_y ~ normal(0, 20);
  alpha_raw ~ std_normal();
  beta_raw ~ std_normal();
  y ~ normal(alpha[rat] + beta[rat] .* x_c, sigma_y);
}
