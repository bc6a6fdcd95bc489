"""A local page and JSON endpoint that tell what a trained run says of a picture, and where it looked."""
