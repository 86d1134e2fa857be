"""What a browser shows; the only files that import gradio."""
