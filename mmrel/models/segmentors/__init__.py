"""Segmentors and heads on mmseg's; imported on first use, since mmseg may be absent."""
