"""The fault suite: real services in forked processes, killed, stopped, cut off and fed poison; a
checker over the whole history.
"""
