"""A daemon of one volume: ``python -m rpc.daemon DATA PORT LEASE``. Prints ``ready PORT``.

SIGTERM ends it.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from graviton_server import logs
from graviton_server.cli.memory import share_heaps
from graviton_server.grpc_api.server import serve
from graviton_server.grpc_api.settings import GrpcSettings
from graviton_server.wiring import EngineOptions, open_embedded


def main() -> None:
    logs.setup("info")
    share_heaps()  # as 'graviton serve' does
    data, port, lease = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    with open_embedded(data, create=True, options=EngineOptions(memory=128 << 20)) as engine:
        server = serve(engine, GrpcSettings(port=port, lease=lease, stop_grace=2.0))
        sys.stdout.write(f"ready {server.port}\n")
        sys.stdout.flush()
        stop.wait()
        server.stop()


if __name__ == "__main__":
    main()
