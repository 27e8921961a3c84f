"""Certificates, as the kubeconfigs of minikube and kind use them in both directions."""

import base64
import ipaddress
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fixtures.clusters.kubernetes.access.api import Api
from fixtures.errors import InfraError
from tests.stand_ins.fake_kubernetes import FakeKubernetes


@dataclass(frozen=True)
class Identity:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        plain = serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def issue(name: str, issuer: Identity | None = None) -> Identity:
    """A certificate for loopback, signed by the issuer or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, now = issuer.key if issuer else key, datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return Identity(builder.sign(signer, hashes.SHA256()), key)


CA = issue("kubernetes")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeKubernetes]:
    """A server that wants a certificate of its own authority from its clients, too."""
    server = issue("kube-apiserver", CA)
    (tmp_path / "server.pem").write_bytes(server.key_pem + server.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=CA.certificate_pem.decode())
    with FakeKubernetes(tls=context) as fake:
        yield fake


def kubeconfig(fake: FakeKubernetes, folder: Path, authority: Identity, user: Identity) -> Path:
    def data(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    who = {"client-certificate-data": data(user.certificate_pem), "client-key-data": data(user.key_pem)}
    file = fake.kubeconfig(folder, **who)
    config = json.loads(file.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["certificate-authority-data"] = data(authority.certificate_pem)
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


def test_certificates_of_the_kubeconfig_prove_both_sides(fake: FakeKubernetes, tmp_path: Path) -> None:
    file = kubeconfig(fake, tmp_path, CA, issue("minikube-user", CA))

    assert Api(file, None, clock=fake.clock).version() == "v1.34.4"


def test_a_server_of_another_authority_is_refused_at_once(fake: FakeKubernetes, tmp_path: Path) -> None:
    file = kubeconfig(fake, tmp_path, issue("an earlier cluster"), issue("minikube-user", CA))

    message = r"cannot be trusted.*certificate verify failed.* earlier one at the same address"
    with pytest.raises(InfraError, match=message):
        Api(file, None, clock=fake.clock).version()
    assert fake.clock.slept == []
