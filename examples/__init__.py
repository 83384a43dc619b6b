"""Stages that are not Millrace's own, written against its public names."""
