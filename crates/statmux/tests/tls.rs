//! TLS as users set it up: a certificate and a key in files, and a client that trusts that certificate alone.

mod common;

use common::Session;
use common::serving::Serving;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A session with a certificate for `localhost` in `cert.pem`, its key in `key.pem`, and a client that trusts it.
fn session() -> (Session, Arc<ClientConfig>) {
    let session = Session::new(|text| text);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a key is drawn");
    session.write("cert.pem", &cert.pem());
    session.write("key.pem", &signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (session, Arc::new(client))
}

/// Asks for the list of models under the name `name`.
fn ask(server: &Serving, client: &Arc<ClientConfig>, name: &'static str) -> std::io::Result<String> {
    let name = ServerName::try_from(name).expect("a name");
    let connection = ClientConnection::new(Arc::clone(client), name).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(&server.address)?);
    stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(unix)]
#[test]
fn clients_that_trust_the_certificate_are_served_over_tls() {
    let (session, client) = session();
    let server = Serving::start(&session, "--tls-certificate cert.pem --tls-key key.pem");
    assert_eq!(server.url, format!("https://{}", server.address));
    let answer = ask(&server, &client, "localhost").expect("served");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"m3\""), "{answer}");
    let other = ask(&server, &client, "elsewhere").expect_err("the certificate is for another name");
    assert!(other.to_string().contains("certificate"), "{other}");
    // Plain HTTP at the same port harms nobody.
    let mut plain = TcpStream::connect(&server.address).expect("it listens");
    plain.write_all(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    // The server may reset the connection instead of closing it.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "nothing is said in the clear");
    ask(&server, &client, "localhost").expect("served");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn certificates_and_keys_that_do_not_work_are_named() {
    let (session, _) = session();
    session.write("no.pem", "hello\n");
    session.write("half.pem", &session.read("cert.pem")[..200]);
    let other = generate_simple_self_signed(["localhost".to_owned()]).expect("a key is drawn");
    session.write("other.pem", &other.signing_key.serialize_pem());
    let serve = |certificate, key| {
        format!("serve s.toml --backend sleep --tls-certificate {certificate} --tls-key {key} --listen 127.0.0.1:0")
    };
    session.refuses(&serve("no.pem", "key.pem"), &["no.pem", "no certificate chain"]);
    session.refuses(&serve("half.pem", "key.pem"), &["half.pem", "no certificate chain"]);
    session.refuses(&serve("cert.pem", "no.pem"), &["no.pem", "no private key"]);
    session.refuses(&serve("cert.pem", "cert.pem"), &["cert.pem", "no private key"]);
    session.refuses(&serve("cert.pem", "other.pem"), &["cert.pem", "cannot be used with its key"]);
    session.refuses(&serve("cert.pem", "missing.pem"), &["missing.pem", "cannot read"]);
}

#[cfg(unix)]
#[test]
fn a_hangup_takes_up_another_certificate_and_keeps_the_old_one_if_it_cannot() {
    let (session, old) = session();
    let mut server = Serving::watched(&session, "--log json --tls-certificate cert.pem --tls-key key.pem");
    ask(&server, &old, "localhost").expect("served");
    let (other, new) = self::session();
    session.write("cert.pem", &other.read("cert.pem"));
    // Half of a change, as a signal may find it.
    server.signal("HUP");
    server.line(&["\"act\":\"reload\"", "cannot be used with its key", "ERROR"]);
    ask(&server, &old, "localhost").expect("served as before");
    session.write("key.pem", &other.read("key.pem"));
    server.signal("HUP");
    server.line(&["\"act\":\"reload\"", "INFO"]);
    ask(&server, &new, "localhost").expect("served with the new certificate");
    ask(&server, &old, "localhost").expect_err("the old certificate is gone");
    assert_eq!(server.end().0, Some(0));
}
