"""Definitions of the custom kinds that components of k8s/ use: to check them against, never to install."""
