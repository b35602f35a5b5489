"""A SASL_SSL door for a test's broker: certificates made here, PLAIN and SCRAM users.

``SECURED`` is the listener's name; ``secured_properties`` are what ``BrokerConfig`` takes as
``extra_properties``; pass ``SCRAM_USERS`` as ``scram_users``.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SECURED = "SECURED"
PLAIN_USERS = {"alice": "alice-password"}
SCRAM_USERS = {"bob": "bob-password"}


@dataclass(frozen=True)
class Identity:
    """A key and its certificate, both PEM."""

    key: str
    certificate: str


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it signed: the broker's and one client's identity."""

    authority: str
    broker: Identity
    client: Identity

    def client_context(self, folder: Path) -> ssl.SSLContext:
        """Trusts the authority alone and shows the client's certificate."""
        written = folder / "client.pem"
        written.write_text(self.client.key + self.client.certificate)
        context = ssl.create_default_context(cadata=self.authority)
        context.load_cert_chain(written)
        return context


def make_certificates() -> Certificates:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("tokenpools test authority")
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = (
        _valid_today(name, name, key.public_key())
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificates(
        authority=_pem(authority),
        broker=_signed("broker", authority, key),
        client=_signed("client", authority, key),
    )


def secured_properties(certificates: Certificates) -> dict[str, str]:
    """Kafka's properties of the listener ``SECURED``; no client certificate is asked for."""
    listener = f"listener.name.{SECURED.lower()}"
    security = "org.apache.kafka.common.security"
    users = " ".join(f'user_{name}="{password}"' for name, password in PLAIN_USERS.items())
    return {
        f"{listener}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        f"{listener}.plain.sasl.jaas.config": (
            f"{security}.plain.PlainLoginModule required {users};"
        ),
        f"{listener}.scram-sha-512.sasl.jaas.config": (
            f"{security}.scram.ScramLoginModule required;"
        ),
        f"{listener}.ssl.keystore.type": "PEM",
        f"{listener}.ssl.keystore.key": certificates.broker.key,
        f"{listener}.ssl.keystore.certificate.chain": certificates.broker.certificate,
        f"{listener}.ssl.truststore.type": "PEM",
        f"{listener}.ssl.truststore.certificates": certificates.authority,
        f"{listener}.ssl.client.auth": "none",
    }


def _signed(
    common_name: str, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> Identity:
    key = ec.generate_private_key(ec.SECP256R1())
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _valid_today(_name(common_name), authority.subject, key.public_key())
        .add_extension(loopback, critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(key=private.decode(), certificate=_pem(certificate))


def _valid_today(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
