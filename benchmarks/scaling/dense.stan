// A normal distribution by its precision, which has no structure.
data {
  int<lower=1> d;
  vector[d] mu;
  matrix[d, d] precision;
}
parameters {
  vector[d] x;
}
model {
  target += -0.5 * quad_form(precision, x - mu);
}
