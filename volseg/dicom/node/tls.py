"""TLS of both directions: each side shows a certificate by an authority that the other knows."""

import ssl

from volseg.dicom.node.settings import Tls
from volseg.errors import UserError


def server_context(files: Tls) -> ssl.SSLContext:
    """How callers' connections are secured."""
    return _context(files, ssl.PROTOCOL_TLS_SERVER)


def client_context(files: Tls) -> ssl.SSLContext:
    """How connections to a destination are secured; its certificate must bear its host's name."""
    return _context(files, ssl.PROTOCOL_TLS_CLIENT)


def _context(files: Tls, kind: int) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(files.certificate, files.key, password="")
        context.load_verify_locations(files.authorities)
    except (OSError, ssl.SSLError, ValueError) as error:
        named = f"{files.certificate}, {files.key} and {files.authorities}"
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UserError(
            f"tls: {named}: can't be used: {reason}; expected PEM, the key without a password"
        ) from error
    return context
