//! Whether a request was made by a page of somebody else: for paths that change things.
//!
//! A browser lets any page send simple requests anywhere (cross-site request forgery), and a page whose name its owner
//! points at this machine may read the answers too (DNS rebinding). The first shows in `Origin`, `Referer` and
//! `Sec-Fetch-Site`, the second in `Host`; what is no browser sends none of the former and the right one of the latter.

use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN, REFERER};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Uri};
use std::net::IpAddr;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request shows of another site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// It was sent to a name that is not this server's.
    Host,
    /// A page of another site sent it.
    Origin,
    /// It looks like a form, which pages may send anywhere.
    Form,
}

/// What the request shows of another site, if anything. `names` are the server's, beside addresses and `localhost`.
pub(super) fn foreign(method: &Method, uri: &Uri, headers: &HeaderMap, names: &[String]) -> Option<Foreign> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(only), None) => match only.to_str().ok().and_then(|host| host.trim().parse::<Authority>().ok()) {
            Some(host) => Some(host),
            None => return Some(Foreign::Host),
        },
        (None, _) => None,
        // Whom it was meant for cannot be told.
        (Some(_), Some(_)) => return Some(Foreign::Host),
    };
    if [host.as_ref(), uri.authority()].into_iter().flatten().any(|host| !is_own(host, names)) {
        return Some(Foreign::Host);
    }
    let own = host.as_ref().or(uri.authority());
    if !is_same_site(headers, own, names) {
        return Some(Foreign::Origin);
    }
    (*method == Method::POST && is_form(headers)).then_some(Foreign::Form)
}

/// Whether a name that a request was sent to is this server's: then whoever resolved it was not led astray.
fn is_own(host: &Authority, names: &[String]) -> bool {
    if host.as_str().contains('@') {
        return false;
    }
    let host = host.host().trim_end_matches('.').to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

fn is_same_site(headers: &HeaderMap, own: Option<&Authority>, names: &[String]) -> bool {
    if headers.get_all(FETCH_SITE).iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return false;
    }
    let same = |origin: &str| {
        let Some(origin) = origin.trim().parse::<Uri>().ok().and_then(|uri| uri.authority().cloned()) else {
            // `null`, such as of a page without a site.
            return false;
        };
        let named = names.iter().any(|name| name.eq_ignore_ascii_case(origin.host()));
        named || own.is_some_and(|own| own.as_str().eq_ignore_ascii_case(origin.as_str()))
    };
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    // Browsers of old say where they come from in another header only.
    let senders: Vec<_> =
        if origins.peek().is_some() { origins.collect() } else { headers.get_all(REFERER).iter().collect() };
    senders.iter().all(|sender| sender.to_str().is_ok_and(same))
}

/// The types of content that a form can have and that no tool sends unless told to. (`application/x-www-form-urlencoded`
/// is what tools send by default; from a page it comes with an `Origin`.)
fn is_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|content| {
        let content = content.as_bytes().to_ascii_lowercase();
        [&b"text/plain"[..], b"multipart/form-data"].iter().any(|form| content.trim_ascii_start().starts_with(form))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, uri: &str, lines: &[(&str, &str)]) -> Option<Foreign> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        foreign(method, &uri.parse().expect("an address"), &headers, &["models.example".to_owned()])
    }

    #[test]
    fn only_own_names_are_answered() {
        for host in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LOCALHOST:8080",
            "localhost.:1",
            "a.localhost",
            "models.example",
            "Models.Example:8443",
        ] {
            assert_eq!(of(&Method::POST, "/admin/drain", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "models.example.evil.example",
            "xmodels.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "x",
            "evil@127.0.0.1",
            "",
            "127.0.0.1:80:80",
            "a b",
        ] {
            assert_eq!(of(&Method::GET, "/admin/drain", &[("host", host)]), Some(Foreign::Host), "{host}");
        }
        let twice = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        assert_eq!(of(&Method::GET, "/admin/drain", &twice), Some(Foreign::Host));
        assert_eq!(of(&Method::GET, "http://evil.example/", &[("host", "127.0.0.1")]), Some(Foreign::Host));
        assert_eq!(of(&Method::GET, "/admin/drain", &[]), None);
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_own_ones_are_not() {
        let post = |lines: &[(&str, &str)]| {
            let mut all = vec![("host", "127.0.0.1:8080")];
            all.extend(lines);
            of(&Method::POST, "/admin/drain", &all)
        };
        for lines in [
            &[][..],
            &[("origin", "http://127.0.0.1:8080")],
            &[("origin", "https://models.example")],
            &[("referer", "http://127.0.0.1:8080/docs?x=1")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("content-type", "application/json")],
            &[("content-type", "application/x-www-form-urlencoded")],
        ] {
            assert_eq!(post(lines), None, "{lines:?}");
        }
        for lines in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "http://127.0.0.1:8081")],
            &[("origin", "http://127.0.0.1")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "file://")],
            &[("origin", "http://127.0.0.1:8080@evil.example")],
            &[("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")],
            &[("referer", "http://evil.example/x")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://evil.example"), ("content-type", "application/x-www-form-urlencoded")],
        ] {
            assert_eq!(post(lines), Some(Foreign::Origin), "{lines:?}");
        }
        for content in ["text/plain", "Text/Plain;charset=UTF-8", "multipart/form-data; boundary=x"] {
            assert_eq!(post(&[("content-type", content)]), Some(Foreign::Form), "{content}");
        }
        assert_eq!(of(&Method::POST, "/x", &[("origin", "http://evil.example")]), Some(Foreign::Origin));
    }
}
