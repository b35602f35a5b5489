"""Parts of the streams process with a writer and a book that stand in for Kafka."""
