"""vitdemo: a browser app that takes a Vision Transformer apart."""

import os

__version__ = "0.1.0"

# Read by the libraries while they are imported, so they are set before any of them is.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # no call to other hosts
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # plain HTTP keeps the part already downloaded when a download is interrupted
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # its official builds report to their maker from 1.29 on
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait sleep: on a busy machine spinning makes a pass several times slower
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")  # no summary of past requests, by pandas, after each of them
