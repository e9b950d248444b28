"""The command line (`marquee`, `python -m marquee`), one file a command, and the settings' front door."""
