//! Who may do what: keys of two kinds, a listener for admin paths, pages of other sites.

mod common;

use common::{Reply, ask, deployment, get, keys, parse, raw, server, settings};
use statmux_core::{Slo, Span};
use statmux_serve::http::HttpSettings;
use statmux_serve::{Server, ServerSettings};
use std::net::SocketAddr;

const BODY: &str = r#"{"model":"m0","input":"x"}"#;
const ADMIN: [(&str, &str); 2] = [("GET", "/admin/placement"), ("POST", "/admin/drain")];

fn start(inference: &str, admin: &str, change: impl FnOnce(&mut ServerSettings)) -> Server {
    let host_names = vec!["models.example".to_owned()];
    let http = HttpSettings { keys: keys(inference, admin), host_names, ..HttpSettings::default() };
    let mut settings = ServerSettings { http, ..settings() };
    change(&mut settings);
    server(deployment(1, 1, 3, Span::from_millis(1), Slo::None), settings)
}

fn with_key(at: SocketAddr, method: &str, path: &str, key: &str, body: &str) -> Reply {
    let header = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
    ask(at, method, path, &header, body)
}

/// Whether a server answers each admin path to whoever shows `key`, with this status if it does not.
fn check_admin(at: SocketAddr, key: &str, refused: Option<u16>) {
    for (method, path) in ADMIN {
        let status = with_key(at, method, path, key, "").status;
        assert_eq!(status, refused.unwrap_or(200), "{method} {path} with `{key}`");
    }
}

#[test]
fn each_kind_of_key_opens_its_own_paths() {
    let server = start("alice:one", "root:two", |_| {});
    let at = server.address();
    // Models, metrics, admin paths, by what is shown.
    for (key, models, metrics, admin) in
        [("", 401, 401, 401), ("one", 200, 200, 403), ("two", 401, 200, 200), ("three", 401, 401, 401)]
    {
        assert_eq!(with_key(at, "GET", "/v1/models", key, "").status, models, "{key}");
        assert_eq!(with_key(at, "POST", "/v1/embeddings", key, BODY).status, models, "{key}");
        assert_eq!(with_key(at, "GET", "/nowhere", key, "").status, if models == 200 { 404 } else { 401 }, "{key}");
        assert_eq!(with_key(at, "GET", "/metrics", key, "").status, metrics, "{key}");
        assert_eq!(with_key(at, "GET", "/openapi.json", key, "").status, metrics, "{key}");
        assert_eq!(with_key(at, "GET", "/placement", key, "").status, metrics, "{key}");
        assert_eq!(with_key(at, "GET", "/admin/placement", key, "").status, admin, "{key}");
        assert_eq!(with_key(at, "GET", "/v2/health/live", key, "").status, 200, "{key}");
    }
    // Ways around the template of a path lead nowhere.
    for path in
        ["/%61dmin/placement", "//admin/placement", "/admin/placement/", "/v2/../admin/placement", "/ADMIN/placement"]
    {
        let status = with_key(at, "GET", path, "one", "").status;
        assert_eq!(status, 404, "{path}");
    }
    server.stop();
}

#[test]
fn without_admin_keys_only_this_machine_may_administer_and_only_where_nobody_else_comes() {
    let local = start("", "", |_| {});
    check_admin(local.address(), "", None);
    for proxied in ["x-forwarded-for: 10.0.0.1\r\n", "forwarded: for=10.0.0.1\r\n", "via: 1.1 proxy\r\n"] {
        let reply = ask(local.address(), "GET", "/admin/placement", proxied, "");
        assert_eq!(reply.json()["error"]["reason"], "admin_closed", "{proxied}");
    }
    local.stop();

    let keyed = start("alice:one", "", |_| {});
    check_admin(keyed.address(), "one", Some(403));
    check_admin(keyed.address(), "", Some(403));
    keyed.stop();

    let open = start("", "", |settings| settings.address = SocketAddr::from(([0, 0, 0, 0], 0)));
    let at = SocketAddr::from(([127, 0, 0, 1], open.address().port()));
    check_admin(at, "", Some(403));
    let reply = get(at, "/admin/placement");
    assert!(reply.body.contains("--admin-keys") && reply.body.contains("--admin-listen"), "{}", reply.body);
    assert_eq!(get(at, "/v1/models").status, 200);
    assert!(!open.gateway().is_draining());
    open.stop();

    let open = start("", "root:two", |settings| settings.address = SocketAddr::from(([0, 0, 0, 0], 0)));
    let at = SocketAddr::from(([127, 0, 0, 1], open.address().port()));
    check_admin(at, "", Some(401));
    check_admin(at, "two", None);
    open.stop();
}

#[test]
fn a_listener_of_their_own_hides_the_admin_paths_everywhere_else() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = start("alice:one", "", |settings| settings.admin_address = Some(any));
    let (at, admin) = (server.address(), server.admin_address().expect("it has one"));
    check_admin(at, "one", Some(404));
    check_admin(admin, "", None);
    assert_eq!(with_key(admin, "GET", "/v1/models", "one", "").status, 404);
    assert_eq!(with_key(admin, "POST", "/v1/embeddings", "one", BODY).status, 404);
    assert_eq!(get(admin, "/v2/health/live").status, 200);
    assert_eq!(with_key(admin, "GET", "/metrics", "one", "").status, 200);
    server.stop();

    let server = start("alice:one", "root:two", |settings| settings.admin_address = Some(any));
    let admin = server.admin_address().expect("it has one");
    check_admin(admin, "", Some(401));
    check_admin(admin, "one", Some(403));
    check_admin(server.address(), "two", Some(404));
    check_admin(admin, "two", None);
    server.stop();
}

#[test]
fn a_drain_can_be_taken_back_but_not_a_stop() {
    let server = start("", "", |_| {});
    let at = server.address();
    let draining = |method: &str| {
        let reply = ask(at, method, "/admin/drain", "", "");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["draining"].as_bool().expect("a truth")
    };
    for _ in 0..2 {
        assert!(!draining("GET") && !draining("DELETE"));
        assert_eq!(get(at, "/v2/health/ready").status, 200);
        assert!(draining("POST") && draining("POST") && draining("GET"));
        for path in ["/v2/health/ready", "/v2/models/m0/ready"] {
            assert_eq!(get(at, path).status, 503, "{path}");
        }
        let refused = ask(at, "POST", "/v1/embeddings", "", BODY);
        assert_eq!(refused.json()["error"]["reason"], "draining");
        assert_eq!(get(at, "/v2/health/live").status, 200);
        assert!(!draining("DELETE"));
        assert_eq!(ask(at, "POST", "/v1/embeddings", "", BODY).status, 200);
    }
    let gateway = server.gateway();
    server.stop();
    assert!(!gateway.resume() && gateway.is_draining(), "a stop stays a stop");
}

#[test]
fn pages_of_other_sites_administer_nothing_whatever_they_show() {
    let server = start("", "root:two", |_| {});
    let at = server.address();
    let sent = |method: &str, path: &str, headers: &str| {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\nauthorization: bearer two\r\n{headers}\r\n"
        );
        parse(&raw(at, text.as_bytes()))
    };
    for (headers, reason) in [
        ("host: evil.example\r\n", "foreign_host"),
        ("host: models.example.evil.example\r\n", "foreign_host"),
        ("host: localhost\r\norigin: http://evil.example\r\n", "foreign_origin"),
        ("host: localhost\r\norigin: null\r\n", "foreign_origin"),
        ("host: localhost\r\nreferer: http://evil.example/page\r\n", "foreign_origin"),
        ("host: localhost\r\nsec-fetch-site: cross-site\r\n", "foreign_origin"),
    ] {
        for (method, path) in ADMIN.into_iter().chain([("PUT", "/admin/placement")]) {
            let reply = sent(method, path, headers);
            let error = reply.json()["error"].clone();
            assert_eq!((reply.status, error["reason"].as_str()), (403, Some(reason)), "{method} {path} {headers}");
        }
    }
    assert_eq!(sent("POST", "/admin/drain", "host: localhost\r\ncontent-type: text/plain\r\n").status, 403);
    assert!(!server.gateway().is_draining(), "nothing of this had an effect");
    for host in ["localhost", "127.0.0.1", "[::1]:1", "models.example", "MODELS.example:8080"] {
        assert_eq!(sent("GET", "/admin/placement", &format!("host: {host}\r\n")).status, 200, "{host}");
    }
    let own = "host: models.example\r\norigin: https://models.example\r\nsec-fetch-site: same-origin\r\n";
    assert_eq!(sent("POST", "/admin/drain", own).status, 200);
    server.stop();
}
