"""Models of integer images as users hold them, and what a file may say of them."""
