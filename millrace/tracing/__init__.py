"""Traces over OpenTelemetry."""
