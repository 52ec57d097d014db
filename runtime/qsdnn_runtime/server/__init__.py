"""The measuring server: packages measured in child processes, for a host over frames."""
