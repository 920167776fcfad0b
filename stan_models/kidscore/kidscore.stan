// Linear regression of children's test scores on the mother's high-school
// degree, her IQ and their product. Flat priors on the coefficients.
data {
  int<lower=0> N;
  vector<lower=0, upper=200>[N] kid_score;
  vector<lower=0, upper=1>[N] mom_hs;
  vector<lower=0, upper=200>[N] mom_iq;
  real<lower=0, upper=1> mom_hs_new;
  real<lower=0, upper=200> mom_iq_new;
}
transformed data {
  vector[N] inter = mom_hs .* mom_iq;
}
parameters {
  vector[4] beta;
  real<lower=0> sigma;
}
model {
  sigma ~ cauchy(0, 2.5);
  kid_score ~ normal(beta[1] + beta[2] * mom_hs + beta[3] * mom_iq
                     + beta[4] * inter, sigma);
}
generated quantities {
  real kid_score_pred = normal_rng(beta[1] + beta[2] * mom_hs_new
                                   + beta[3] * mom_iq_new
                                   + beta[4] * mom_hs_new * mom_iq_new, sigma);
}
