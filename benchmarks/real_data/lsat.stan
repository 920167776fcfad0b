// Two-parameter item response, one ability for each person.
data {
  int<lower=1> persons;
  int<lower=1> items;
  int<lower=1> n;
  array[n] int<lower=1, upper=persons> person;
  array[n] int<lower=1, upper=items> item;
  array[n] int<lower=0, upper=1> y;
}
parameters {
  vector[persons] ability;
  vector[items] easiness;
  vector<lower=0>[items] discrimination;
}
model {
  ability ~ std_normal();
  easiness ~ normal(0, 3);
  discrimination ~ lognormal(0, 0.5);
  y ~ bernoulli_logit(easiness[item] + discrimination[item] .* ability[person]);
}
