"""What runs inside the cluster: one way to train a CNN on MNIST, with and without Ray Train."""
