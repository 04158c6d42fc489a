"""capture: records what apps asked other models, and what people thought of any answer: redacted,
durable, published once.
"""
