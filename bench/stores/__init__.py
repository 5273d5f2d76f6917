"""Stores that scripts in this directory start: Coffer and others, each as processes on loopback."""
