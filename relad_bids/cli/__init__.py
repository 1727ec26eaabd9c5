"""Parsers and commands; nothing heavy is imported at module level."""
