// Logistic regression of O-ring distress on the temperature at launch.
data {
  int<lower=1> N;
  vector[N] temperature;
  array[N] int<lower=0, upper=1> distress;
}
transformed data {
  vector[N] z = (temperature - 70) / 10;
}
parameters {
  real alpha;
  real beta;
}
model {
  alpha ~ normal(0, 5);
  beta ~ normal(0, 5);
  distress ~ bernoulli_logit(alpha + beta * z);
}
generated quantities {
  // 28 January 1986: 31 degrees Fahrenheit.
  real p_31 = inv_logit(alpha + beta * (31 - 70) / 10);
}
