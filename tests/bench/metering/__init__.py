"""How fast does the meter count, beside what the Kafka client itself can do?"""
