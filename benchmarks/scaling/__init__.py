"""How fast one service digests a topic with one, two and four consumers, on a real Apache Kafka and
a real Postgres.
"""
