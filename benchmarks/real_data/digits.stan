// Which digit an image shows: multinomial logistic regression on its pixels.
data {
  int<lower=1> n;
  int<lower=1> p;
  int<lower=2> classes;
  matrix[n, p] x;
  array[n] int<lower=1, upper=classes> y;
}
parameters {
  vector[classes] intercept;
  matrix[p, classes] weight;
}
model {
  intercept ~ std_normal();
  to_vector(weight) ~ std_normal();
  y ~ categorical_logit_glm(x, intercept, weight);
}
