"""Network architectures, one package each."""
