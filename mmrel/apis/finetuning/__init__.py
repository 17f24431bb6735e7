"""Detectors and segmentors on users' own annotations: what is chosen, converted, written, and shown at the end."""
