"""From float32 to fewer bits: ranges, settings, the quantizer at work, old models made anew."""
