// Linear regression under the horseshoe prior (simulated), coefficients non-centred.
// tau0: prior guess of the global scale, p0 / (p - p0) / sqrt(N) for p0 signals and unit noise.
data {
  int<lower=1> N;
  int<lower=1> P;
  matrix[N, P] X;
  vector[N] y;
  real<lower=0> tau0;
}
parameters {
  real alpha;
  real<lower=0> sigma;
  real<lower=0> tau;
  vector<lower=0>[P] lambda;
  vector[P] z;
}
transformed parameters {
  vector[P] beta = z .* lambda * tau;
}
model {
  alpha ~ normal(0, 2);
  sigma ~ normal(0, 2);
  tau ~ cauchy(0, tau0);
  lambda ~ cauchy(0, 1);
  z ~ std_normal();
  y ~ normal(alpha + X * beta, sigma);
}
