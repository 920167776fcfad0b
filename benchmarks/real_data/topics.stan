// Latent Dirichlet allocation of word counts; the topics have no order.
data {
  int<lower=1> documents;
  int<lower=1> words;
  int<lower=1> topics;
  matrix[documents, words] count;
}
parameters {
  array[documents] simplex[topics] share;
  array[topics] simplex[words] word;
}
model {
  matrix[documents, topics] left;
  matrix[topics, words] right;
  for (d in 1:documents) {
    share[d] ~ dirichlet(rep_vector(1, topics));
    left[d] = share[d]';
  }
  for (k in 1:topics) {
    word[k] ~ dirichlet(rep_vector(0.5, words));
    right[k] = word[k]';
  }
  target += sum(count .* log(left * right));
}
