"""Engine loaders: one package for each engine."""
