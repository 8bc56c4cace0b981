"""The attempts of one worker on the event loop: taken, given out, counted, ended."""
