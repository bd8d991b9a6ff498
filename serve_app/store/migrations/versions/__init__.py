"""One file per revision, `NNNN_what.py`. A released revision is never edited."""
