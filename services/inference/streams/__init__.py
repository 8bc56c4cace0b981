"""From ids to frames: text, stops, columns. Pure."""
