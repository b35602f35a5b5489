"""One file per group of commands; ``console.cli`` lists them."""
