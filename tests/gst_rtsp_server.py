"""An RTSP server that also speaks UDP, on Debian's GStreamer: run by the system's Python, where its bindings live.

Usage: gst_rtsp_server.py PORT FILE.mp4   offers the H.264 file as rtsp://127.0.0.1:PORT/clip
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, clip = sys.argv[1:]
Gst.init(None)
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(f"( filesrc location={clip} ! qtdemux ! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96 )")
factory.set_shared(True)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/clip", factory)
server.attach(None)
GLib.MainLoop().run()
