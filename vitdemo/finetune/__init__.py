"""Teach a Vision Transformer your own classes."""
