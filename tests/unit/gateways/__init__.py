"""Tests of the gateway client's pure parts."""
