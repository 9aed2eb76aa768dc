"""Adapter of the Jellyfin server. Citations such as `(J12)` refer to `notes/jellyfin-server.md`."""
