"""Where a port may be opened: loopback, unless the operator says that anybody may come."""

from __future__ import annotations

from ipaddress import ip_address

from taba.errors import SettingsError


def check_interface(interface: str, insecure: bool) -> None:
    """SettingsError for an address that is none, or that other hosts can reach, unless `insecure`."""
    try:
        address = ip_address(interface)
    except ValueError:
        raise SettingsError(f"{interface!r} is no IP address to listen on; name one, such as 127.0.0.1 or ::1.")
    if not address.is_loopback and not insecure:
        raise SettingsError(
            f"Listening on {interface} lets every host that reaches it write and read, unencrypted. Say --insecure "
            "(INSECURE in a settings file) if that is meant, or listen on 127.0.0.1."
        )
