"""The kinds of model, each a short file that reads like its equations."""
