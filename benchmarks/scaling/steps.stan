// A random walk with nothing seen of it: normal, the condition number grows as the square of d.
data {
  int<lower=2> d;
}
parameters {
  vector[d] x;
}
model {
  target += -0.5 * (square(x[1]) + dot_self(x[2 : d] - x[1 : d - 1]));
}
