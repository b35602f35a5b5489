"""Unit tests of the streams process: plain data in, plain data out."""
