"""How good a model file is: COCO AP and how sure it is, the test card, errors, times."""
