"""Engine loaders: one module an engine."""
