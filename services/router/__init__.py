"""The router: answers apps with the model that is proven best for their route."""
