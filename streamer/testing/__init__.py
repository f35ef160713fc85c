"""A consumer → proof that it keeps the contract: `ConsumerContract`, a class that a plug-in author subclasses.

It runs the real command, with real processes, on small recordings that it makes itself, and needs nothing but
``pip install rosbag-streamer pytest``::

    from streamer.testing import ConsumerContract

    class TestMine(ConsumerContract):
        use = "mymodule:Mine"

        def options(self, out):
            return {"out": str(out)}
"""

from streamer.testing.suite import ConsumerContract

__all__ = ["ConsumerContract"]
