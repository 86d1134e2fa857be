"""The code between the command line and a training or an evaluation."""
