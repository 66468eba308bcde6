"""Who runs and who feeds whom: detectors, cameras, and the rings between them."""
