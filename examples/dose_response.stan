// Share of animals that respond to a dose: logistic in log dose, with a share that responds anyway.
data {
  int<lower=1> N;
  vector[N] log_dose;
  array[N] int<lower=0> tested;
  array[N] int<lower=0> responded;
}
parameters {
  real log_ed50;
  real<lower=0> slope;
  real<lower=0, upper=1> background;
}
model {
  log_ed50 ~ normal(0, 2);
  slope ~ lognormal(0.5, 1);
  background ~ beta(1, 9);
  responded ~ binomial(tested, background
                               + (1 - background) * inv_logit(slope * (log_dose - log_ed50)));
}
generated quantities {
  real ed50 = exp(log_ed50);
}
