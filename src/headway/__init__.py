"""Headway: the performance engine for applications that call language models."""
