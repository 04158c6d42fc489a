"""The six services. They never import each other: they meet on Kafka topics only."""
