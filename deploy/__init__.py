"""Where the processes run: one machine, images, clusters."""
