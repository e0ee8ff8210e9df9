use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use super::*;

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn issue(&self, uris: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = uris.iter().map(|u| SanType::URI((*u).try_into().unwrap())).collect();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone(), self.root()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }
}

fn shake(client: rustls::ClientConfig, server: ServerConfig) -> Result<ServerConnection, rustls::Error> {
    let mut client =
        ClientConnection::new(Arc::new(client), ServerName::try_from("anything.example").unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    assert_eq!(client.tls13_tickets_received(), 0);
    assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    Ok(server)
}

const PLANE: &str = "spiffe://fleet.example/control-plane/a";
const NODE: &str = "spiffe://fleet.example/node/01890a5d-ac96-774b-bcce-b302099a8057";

fn domain() -> spiffe::TrustDomain {
    "fleet.example".parse().unwrap()
}

#[test]
fn both_sides_meet_without_tickets_and_the_server_reads_the_name() {
    let ca = Ca::new();
    let roots = roots(&[ca.root()]).unwrap();
    let client = client_config(ca.issue(&[NODE]), roots.clone(), domain()).unwrap();
    let server = server_config(ca.issue(&[PLANE]), roots).unwrap();
    let server = shake(client, server).unwrap();
    let leaf = spiffe::read_leaf(&server.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!(leaf.id.to_string(), NODE);
    assert_eq!(
        server.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768,
        "hybrid key exchange where both sides have it"
    );
}

#[test]
fn a_client_without_certificate_or_with_a_foreign_one_ends_the_handshake() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let server = || server_config(ca.issue(&[PLANE]), roots(&[ca.root()]).unwrap()).unwrap();
    let pin = pin::of_certificate(&ca.root()).unwrap();
    assert!(shake(enrollment_client_config(pin).unwrap(), server()).is_err());
    let client = client_config(foreign.issue(&[NODE]), roots(&[ca.root()]).unwrap(), domain()).unwrap();
    assert!(shake(client, server()).is_err());
}

#[test]
fn an_agent_trusts_nobody_but_a_control_plane_of_its_domain() {
    let ca = Ca::new();
    for server_name in [NODE, "spiffe://other.example/control-plane/a"] {
        let client = client_config(ca.issue(&[NODE]), roots(&[ca.root()]).unwrap(), domain()).unwrap();
        let server = server_config(ca.issue(&[server_name]), roots(&[ca.root()]).unwrap()).unwrap();
        assert!(shake(client, server).is_err(), "{server_name}");
    }
}

#[test]
fn the_pin_must_be_that_of_the_root() {
    let (ca, other) = (Ca::new(), Ca::new());
    let server = || server_config_without_client_certificates(ca.issue(&[PLANE])).unwrap();
    let right = pin::of_certificate(&ca.root()).unwrap();
    let wrong = pin::of_certificate(&other.root()).unwrap();
    assert!(shake(enrollment_client_config(right).unwrap(), server()).is_ok());
    assert!(shake(enrollment_client_config(wrong).unwrap(), server()).is_err());
}

#[test]
fn a_leaf_has_exactly_one_uri() {
    let ca = Ca::new();
    assert_eq!(spiffe::read_leaf(&ca.issue(&[]).chain[0]), Err(spiffe::Error::NotOneUri));
    assert_eq!(spiffe::read_leaf(&ca.issue(&[NODE, PLANE]).chain[0]), Err(spiffe::Error::NotOneUri));
    assert!(spiffe::read_leaf(&ca.issue(&[NODE]).chain[0]).is_ok());
}
