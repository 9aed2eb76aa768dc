"""Notifications to systemd, for units with `Type=notify`.

Source: sd_notify(3).
"""

import os
import socket


def notify(message: str) -> bool:
    """Send one message such as READY=1; return False without a socket or if that rejects the message."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        # An abstract socket: its address begins with a NUL byte.
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify_socket:
        try:
            notify_socket.sendto(message.encode(), address)
        except OSError:
            return False
    return True
