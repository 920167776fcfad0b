// A normal distribution whose covariance is diagonal plus low rank.
data {
  int<lower=1> d;
  int<lower=1> r;
  vector[d] mu;
  vector<lower=0>[d] psi;
  matrix[d, r] loadings; // over psi
  matrix[r, r] inner; // inverse of I + loadings' psi loadings
}
parameters {
  vector[d] x;
}
model {
  vector[d] away = x - mu;
  vector[r] along = loadings' * away;
  target += -0.5 * (dot_product(square(away), inv(psi)) - quad_form(inner, along));
}
