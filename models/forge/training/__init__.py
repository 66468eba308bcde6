"""Training the embedded models: data, the network, what it learns from, the recipes."""
