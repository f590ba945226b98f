"""A SAML 2.0 identity provider that nobody here wrote: the PyPI package pysaml2, on this machine, with a page to sign in on.

`python saml_idp.py SIGNS FORMAT`: what it signs (`assertion`, `response` or `both`) and its NameIDs (`persistent` or `email`). It prints its
metadata as one line of JSON, reads that of its one service provider as another, answers that with a third, and serves until its standard
input ends. Its URLs are `https://`; TLS is left to whoever stands in front of it.
"""

import base64
import datetime
import html
import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAME_FORMAT_URI, NAMEID_FORMAT_EMAILADDRESS, NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

SIGNS, FORMAT = sys.argv[1:]
PASSWORD = "correct horse"


def key_pair(folder):
    """A key and a certificate of one's own, as two files."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))


def settings(base, folder, known):
    """The provider's configuration, with the metadata of those whom it knows."""
    config = IdPConfig()
    config.load(
        {
            "entityid": f"{base}/metadata",
            "xmlsec_binary": "/usr/bin/xmlsec1",
            "key_file": str(folder / "key.pem"),
            "cert_file": str(folder / "certificate.pem"),
            "metadata": {"inline": known},
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": [(f"{base}/sso", BINDING_HTTP_REDIRECT)]},
                    "name_id_format": [name_id_format()],
                    "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": NAME_FORMAT_URI}},
                }
            },
        }
    )
    return config


def name_id_format():
    return NAMEID_FORMAT_EMAILADDRESS if FORMAT == "email" else NAMEID_FORMAT_PERSISTENT


def response(idp, user, asked):
    """The page by which the browser takes along what is said of somebody."""
    about = {
        "mail": [f"{user}@example.com"],
        "displayName": [f"The one called {user}"],
        "groups": ["staff", "finance"],
    }
    address = FORMAT == "email"
    name_id = NameID(
        format=name_id_format(),
        name_qualifier=None if address else idp.config.entityid,
        sp_name_qualifier=None if address else asked["sp_entity_id"],
        text=about["mail"][0] if address else f"{user} of pysaml2",
    )
    relay_state = asked.pop("relay_state", "")
    said = idp.create_authn_response(
        about,
        name_id=name_id,
        userid=user,
        authn={
            "class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            "authn_auth": idp.config.entityid,
        },
        sign_response=SIGNS in ("response", "both"),
        sign_assertion=SIGNS in ("assertion", "both"),
        sign_alg=SIG_RSA_SHA256,
        digest_alg=DIGEST_SHA256,
        **asked,
    )
    page = idp.apply_binding(
        BINDING_HTTP_POST, str(said), asked["destination"], relay_state, response=True
    )
    return page["data"]


def form(request, relay_state):
    """The page on which somebody signs in."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
        for name, value in [("SAMLRequest", request), ("RelayState", relay_state)]
    )
    return (
        f'<!doctype html><title>Sign in</title><form method="post" action="/sso">{hidden}'
        '<input name="username"><input name="password" type="password"><button>Sign in</button></form>'
    )


class Pages(BaseHTTPRequestHandler):
    """What a browser sees."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, page):
        body = page.encode()
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        place = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(place.query).items()}
        if place.path == "/sso":
            # What is asked is read before anybody signs in: a request that is none is no reason to ask for a password.
            self.server.idp.parse_authn_request(asked["SAMLRequest"], BINDING_HTTP_REDIRECT)
        self.answer(200, form(asked.get("SAMLRequest", ""), asked.get("RelayState", "")))

    def do_POST(self):
        length = int(self.headers["content-length"])
        fields = parse_qs(self.rfile.read(length).decode(), keep_blank_values=True)
        asked = {name: values[0] for name, values in fields.items()}
        if asked["password"] != PASSWORD:
            self.answer(200, form(asked["SAMLRequest"], asked["RelayState"]))
            return
        idp = self.server.idp
        if asked["SAMLRequest"]:
            request = idp.parse_authn_request(asked["SAMLRequest"], BINDING_HTTP_REDIRECT)
            whom = idp.response_args(request.message, [BINDING_HTTP_POST])
            whom = {
                "in_response_to": whom["in_response_to"],
                "destination": whom["destination"],
                "sp_entity_id": whom["sp_entity_id"],
                "relay_state": asked["RelayState"],
            }
        else:
            # Nobody has asked: it begins here.
            [service] = idp.metadata.service_providers()
            [consumer] = idp.metadata.assertion_consumer_service(service, BINDING_HTTP_POST)
            whom = {
                "in_response_to": None,
                "destination": consumer["location"],
                "sp_entity_id": service,
            }
        self.answer(200, response(idp, asked["username"], whom))


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        key_pair(folder)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        base = f"https://localhost:{server.server_address[1]}"
        ours = str(entity_descriptor(settings(base, folder, [])))
        print(json.dumps({"base": base, "metadata": ours}), flush=True)
        known = json.loads(sys.stdin.readline())["metadata"]
        server.idp = Server(config=settings(base, folder, [known]))
        print(json.dumps({"knows": server.idp.metadata.service_providers()}), flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


main()
