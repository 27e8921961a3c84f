"""The same training as people usually write it with Keras: frozen, so that the baseline has something to beat."""
