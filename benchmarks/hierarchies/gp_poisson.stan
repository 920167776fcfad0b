// Poisson counts on a latent Gaussian process (simulated), latent values non-centred.
data {
  int<lower=1> N;
  array[N] real x;
  array[N] int<lower=0> y;
}
parameters {
  real<lower=0> rho;
  real<lower=0> alpha;
  vector[N] f_tilde;
}
transformed parameters {
  vector[N] f;
  {
    matrix[N, N] K = add_diag(gp_exp_quad_cov(x, alpha, rho), 1e-9);
    f = cholesky_decompose(K) * f_tilde;
  }
}
model {
  rho ~ inv_gamma(5, 5);
  alpha ~ normal(0, 2);
  f_tilde ~ std_normal();
  y ~ poisson_log(f);
}
