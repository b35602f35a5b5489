"""``python -m console`` is ``tokenpools``: what the supervisor starts its children with."""

from console.cli import main

main(prog_name="tokenpools")
