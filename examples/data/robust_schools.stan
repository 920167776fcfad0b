// Eight schools whose effects have each a scale of its own: one school may stand out.
data {
  int<lower=1> J;
  vector[J] y;
  vector<lower=0>[J] sigma;
}
parameters {
  real mu;
  real<lower=0> tau;
  vector<lower=0>[J] lambda;
  vector[J] z;
}
transformed parameters {
  vector[J] theta = mu + tau * lambda .* z;
}
model {
  mu ~ normal(0, 5);
  tau ~ normal(0, 5);
  lambda ~ student_t(2, 0, 1);
  z ~ std_normal();
  y ~ normal(theta, sigma);
}
