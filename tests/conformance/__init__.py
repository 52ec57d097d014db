"""The conformance suite: what holds for every engine, agent and board, whoever wrote it.

In the wheel it is `qsdnn_conformance`, so that a stranger's engine inherits it::

    pip install "qsdnn[conformance]"
    pytest --pyargs qsdnn_conformance -k NAME
"""
