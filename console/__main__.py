"""``python -m console`` is ``tokenpools``: what the supervisor starts its children with."""

from console.cli import main

if __name__ == "__main__":
    main(prog_name="tokenpools")
