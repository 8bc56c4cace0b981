"""Dialects: translations between a client's wire and one `CompletionRequest`. Pure."""
