"""What is computed: events, admission, the View declaration, one file a view, the fold.

Pure: functions of the log and nothing else. No I/O, no wall clock, no random source, no Faust;
nothing here imports another package of this project.
"""
