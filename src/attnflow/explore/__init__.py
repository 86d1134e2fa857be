"""A page over trained models: what they draw, what they say of an image, where they look."""
