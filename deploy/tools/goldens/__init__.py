"""Builds the golden files that the C++ tests compare themselves with."""
