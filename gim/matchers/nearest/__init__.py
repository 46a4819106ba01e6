"""Exact nearest neighbours of descriptors."""
