"""The gateway: answers apps with the model that is proven best for their route, and moves routes to
new adapters.
"""
