"""The container image of every process, and what a first start of docker-compose.yml needs."""
