"""What devices tell of themselves through their drivers' own libraries, where one is installed."""
