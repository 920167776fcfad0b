// Two-parameter item response with two correlated abilities of each person.
data {
  int<lower=1> n;
  int<lower=1> persons;
  int<lower=1> items;
  array[n] int<lower=1, upper=persons> person;
  array[n] int<lower=1, upper=items> item;
  array[items] int<lower=1, upper=2> trait;
  array[n] int<lower=0, upper=1> y;
}
parameters {
  matrix[persons, 2] z;
  real<lower=-1, upper=1> correlation;
  vector[items] difficulty;
  vector<lower=0>[items] discrimination;
  real mean_difficulty;
  real<lower=0> sd_difficulty;
}
model {
  matrix[persons, 2] ability;
  vector[n] eta;
  ability[, 1] = z[, 1];
  ability[, 2] = correlation * z[, 1] + sqrt(1 - square(correlation)) * z[, 2];
  to_vector(z) ~ std_normal();
  mean_difficulty ~ normal(0, 2);
  sd_difficulty ~ normal(0, 2);
  difficulty ~ normal(mean_difficulty, sd_difficulty);
  discrimination ~ lognormal(0, 0.5);
  for (i in 1:n) {
    eta[i] = discrimination[item[i]] * (ability[person[i], trait[item[i]]] - difficulty[item[i]]);
  }
  y ~ bernoulli_logit(eta);
}
