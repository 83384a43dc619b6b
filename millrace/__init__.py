"""Millrace: event-streaming ML services on Kafka, with a cost ledger that grants money before it is spent.

`__init__.pyi` names what is public; everything else may change. A name is loaded when it is first used.
"""

import lazy_loader

__version__ = "0.1.0.dev0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
