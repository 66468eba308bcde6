"""Every setting of one network: made, measured, judged, reported, shipped."""
