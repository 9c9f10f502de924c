"""Providers, models, prices: pure look-ups in shipped data."""
