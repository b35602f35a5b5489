"""Unit tests of what starts and stops on one machine."""
