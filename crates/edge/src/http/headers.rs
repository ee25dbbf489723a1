//! What is done to the header fields of requests and answers on their way (RFC 9110 section 7.6).

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::authority::Malformed;
use super::introduction::remove_claims;

/// Most header fields that a request may have.
pub(super) const MAX_FIELDS: usize = 100;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// How long the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none.
    None,
    /// So many octets.
    Known(u64),
    /// It ends where it says so.
    Open,
}

/// The length of a request's body as its header fields give it.
///
/// # Errors
/// [`Malformed`] when they can be read in more than one way, or name a coding besides `chunked`,
/// which nobody after us would know of.
pub(super) fn length(
    headers: &HeaderMap,
    version: Version,
    body: Option<u64>,
) -> Result<Length, Malformed> {
    if headers.len() > MAX_FIELDS {
        return Err(Malformed::TooManyFields);
    }
    let is_chunked = is_chunked(headers)?;
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next();
    let has_both = is_chunked && (first.is_some() || version == Version::HTTP_2);
    if has_both || lengths.next().is_some() {
        return Err(Malformed::Length);
    }
    match (first, body) {
        (Some(first), Some(length)) => {
            let is_digits = first.as_bytes().iter().all(u8::is_ascii_digit);
            let claimed = first.to_str().ok().and_then(|text| text.parse().ok());
            if !is_digits || claimed != Some(length) {
                return Err(Malformed::Length);
            }
            Ok(Length::Known(length))
        }
        (Some(_), None) => Err(Malformed::Length),
        (None, Some(0)) if !is_chunked => Ok(Length::None),
        (None, _) => Ok(Length::Open),
    }
}

/// The protocols that a client asks to change to, if it asks properly and for none that would open
/// a second way around what is checked here. HTTP/2 in clear text is one: what it carries would be
/// seen by nobody.
pub(super) fn upgrade(
    headers: &HeaderMap,
    version: Version,
    length: Length,
) -> Option<HeaderValue> {
    let mut upgrades = headers.get_all(UPGRADE).iter();
    let upgrade = upgrades.next()?;
    let is_bodiless = matches!(length, Length::None | Length::Known(0));
    if version != Version::HTTP_11
        || !is_bodiless
        || upgrades.next().is_some()
        || !lists(headers, &CONNECTION, "upgrade")
    {
        return None;
    }
    let text = upgrade.to_str().ok()?;
    let is_allowed = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default();
        let refused = ["h2c", "h2", "http", "tls"];
        !name.is_empty() && !refused.iter().any(|other| name.eq_ignore_ascii_case(other))
    };
    let are_allowed = text.split(',').map(str::trim).all(is_allowed);
    are_allowed.then(|| upgrade.clone())
}

/// Makes the header fields of a request those of the request that a backend gets, save who is
/// introduced. `host` is the host that was asked for.
pub(super) fn rewrite_request(headers: &mut HeaderMap, host: &HeaderValue, length: Length) {
    let takes_trailers = lists(headers, &TE, "trailers");
    remove_hop_by_hop(headers);
    remove_claims(headers);
    headers.remove(EXPECT);
    headers.remove(HTTP2_SETTINGS);
    join_cookies(headers);
    headers.insert(HOST, host.clone());
    if takes_trailers {
        headers.insert(TE, TRAILERS);
    }
    headers.remove(CONTENT_LENGTH);
    match length {
        Length::None => {
            headers.remove(TRAILER);
        }
        Length::Known(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Said outright, because a GET would otherwise lose its body.
        Length::Open => {
            headers.insert(TRANSFER_ENCODING, CHUNKED);
        }
    }
}

/// Takes from the trailers of a request what its header fields may not say either: some programs
/// do not tell the two apart.
pub(super) fn rewrite_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    remove_claims(trailers);
}

/// Makes the header fields of an instance's answer those of the client's. `body` is the length of
/// the body that follows, where it is known.
///
/// # Errors
/// [`Malformed`] when the length of the body is not clear.
pub(super) fn rewrite_answer(
    headers: &mut HeaderMap,
    status: StatusCode,
    is_head: bool,
    body: Option<u64>,
) -> Result<(), Malformed> {
    let is_chunked = is_chunked(headers)?;
    remove_hop_by_hop(headers);
    let has_length = headers.contains_key(CONTENT_LENGTH);
    if is_chunked && has_length {
        // What hyper reads then is the coding (RFC 9112 section 6.3); the other is a lie.
        headers.remove(CONTENT_LENGTH);
    } else if has_length {
        let is_bodiless = is_head
            || status == StatusCode::NOT_MODIFIED
            || status == StatusCode::NO_CONTENT
            || status.is_informational();
        match (is_bodiless, body) {
            (false, Some(length)) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            (false, None) => return Err(Malformed::Length),
            (true, _) => {
                let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
                let is_clear = lengths
                    .next()
                    .is_some_and(|length| length.as_bytes().iter().all(u8::is_ascii_digit));
                if !is_clear || lengths.next().is_some() {
                    headers.remove(CONTENT_LENGTH);
                }
            }
        }
    }
    Ok(())
}

/// Whether the body is in chunks.
///
/// # Errors
/// [`Malformed::Length`] when it has another coding, which nobody after us would know of.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(Malformed::Length),
    }
}

/// Removes the fields that concern one connection only, and those that the message itself calls so.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

/// One field for all cookies: HTTP/2 clients may send one for each (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(mut cookies) = headers.entry(COOKIE) else {
        return;
    };
    if cookies.iter().nth(1).is_none() {
        return;
    }
    let joined = cookies
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        cookies.insert(joined);
    }
}

/// Whether a field that is a list has this element.
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(element.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::introduction::Introduction;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn rewritten(fields: &[(&str, &str)], length: Length) -> Vec<(String, String)> {
        let mut headers = headers(fields);
        rewrite_request(&mut headers, &HeaderValue::from_static("a.test"), length);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .filter(|(name, _)| name != "host")
            .collect();
        fields.sort();
        fields
    }

    #[test]
    fn fields_of_one_connection_do_not_go_on() {
        let fields = rewritten(
            &[
                ("connection", "close, X-Secret ,keep-alive, not a name"),
                ("connection", "x-other"),
                ("x-secret", "1"),
                ("x-other", "2"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("proxy-authorization", "Basic eDp5"),
                ("te", "gzip, trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABk"),
                ("expect", "100-continue"),
                ("accept", "*/*"),
            ],
            Length::None,
        );
        let expected = [("accept", "*/*"), ("te", "trailers")];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn what_clients_claim_about_themselves_is_gone_however_it_is_spelled() {
        let fields = rewritten(
            &[
                ("x-forwarded-for", "192.0.2.1"),
                ("X_Forwarded_For", "192.0.2.1"),
                ("x-forwarded_proto", "https"),
                ("x-forwarded-port", "443"),
                ("x-forwarded", "for=x"),
                ("forwarded", "for=192.0.2.1"),
                ("x-real-ip", "192.0.2.1"),
                ("x_real_ip", "192.0.2.1"),
                ("proxy", "http://attacker.test"),
                ("x-forwardedness", "kept"),
                ("forwarded-by", "kept"),
            ],
            Length::None,
        );
        let expected = [("forwarded-by", "kept"), ("x-forwardedness", "kept")];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }

    #[test]
    fn the_edge_introduces_the_client_even_if_it_calls_those_fields_its_connections_own() {
        let fields = [
            (
                "connection",
                "x-forwarded-for, forwarded, host, content-length",
            ),
            ("x-forwarded-for", "192.0.2.9"),
            ("content-length", "5"),
        ];
        let mut headers = headers(&fields);
        let host = HeaderValue::from_static("a.test:8443");
        rewrite_request(&mut headers, &host, Length::Known(5));
        let introduction = Introduction::new("[::ffff:192.0.2.7]:1".parse().unwrap(), true);
        introduction.introduce(&mut headers, &host);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "a.test:8443");
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.7;host=\"a.test:8443\";proto=https"
        );
        assert_eq!(headers[HOST], "a.test:8443");
        assert_eq!(headers[CONTENT_LENGTH], "5");
    }

    #[test]
    fn the_length_of_a_body_is_read_in_one_way_or_not_at_all() {
        let read = |fields: &[(&str, &str)], body| length(&headers(fields), Version::HTTP_11, body);
        assert_eq!(read(&[], Some(0)), Ok(Length::None));
        assert_eq!(
            read(&[("content-length", "0")], Some(0)),
            Ok(Length::Known(0))
        );
        assert_eq!(
            read(&[("content-length", "5")], Some(5)),
            Ok(Length::Known(5))
        );
        assert_eq!(
            read(&[("transfer-encoding", "Chunked")], None),
            Ok(Length::Open)
        );
        for fields in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5")],
        ] {
            assert_eq!(read(fields, None), Err(Malformed::Length), "{fields:?}");
        }
        for text in ["+5", "0x5", "5, 5", "", "6"] {
            let fields = [("content-length", text)];
            assert_eq!(read(&fields, Some(5)), Err(Malformed::Length), "{text:?}");
        }
        let many: Vec<_> = (0..=MAX_FIELDS).map(|_| ("a", "b")).collect();
        assert_eq!(read(&many, Some(0)), Err(Malformed::TooManyFields));
    }

    #[test]
    fn a_body_of_open_length_goes_on_in_chunks_and_cookies_in_one_field() {
        let fields = [("cookie", "a=1"), ("cookie", "b=2")];
        let expected = [("cookie", "a=1; b=2"), ("transfer-encoding", "chunked")];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(rewritten(&fields, Length::Open), expected);
    }

    #[test]
    fn only_proper_upgrades_to_harmless_protocols_are_passed_on() {
        let asked = |fields: &[(&str, &str)], version, length| {
            let asked = upgrade(&headers(fields), version, length);
            asked.map(|value| value.to_str().unwrap().to_owned())
        };
        let socket = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ];
        let first = Version::HTTP_11;
        assert_eq!(
            asked(&socket, first, Length::None).as_deref(),
            Some("websocket")
        );
        assert!(asked(&socket, first, Length::Known(0)).is_some());
        assert_eq!(asked(&socket, first, Length::Known(1)), None);
        assert_eq!(asked(&socket, first, Length::Open), None);
        assert_eq!(asked(&socket, Version::HTTP_10, Length::None), None);
        assert_eq!(
            asked(&[("upgrade", "websocket")], first, Length::None),
            None
        );
        for protocol in [
            "h2c",
            "H2C",
            "websocket, h2c",
            "HTTP/2.0",
            "TLS/1.0",
            "",
            ",",
        ] {
            let fields = [("connection", "upgrade"), ("upgrade", protocol)];
            assert_eq!(asked(&fields, first, Length::None), None, "{protocol:?}");
        }
    }

    #[test]
    fn an_answer_has_one_length_or_none() {
        let answer = |fields: &[(&str, &str)], status, is_head, body| {
            let mut headers = headers(fields);
            let status = StatusCode::from_u16(status).unwrap();
            rewrite_answer(&mut headers, status, is_head, body)?;
            Ok(headers
                .get(CONTENT_LENGTH)
                .map(|value| value.to_str().unwrap().to_owned()))
        };
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(answer(&twice, 200, false, Some(5)), Ok(Some("5".into())));
        assert_eq!(
            answer(&[("content-length", "5, 5")], 200, false, Some(5)),
            Ok(Some("5".into()))
        );
        assert_eq!(
            answer(&[("content-length", "5")], 200, true, Some(0)),
            Ok(Some("5".into()))
        );
        assert_eq!(
            answer(&[("content-length", "x")], 200, true, Some(0)),
            Ok(None)
        );
        assert_eq!(answer(&twice, 304, false, Some(0)), Ok(None));
        let both = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(answer(&both, 200, false, None), Ok(None));
        let coded = [("transfer-encoding", "gzip, chunked")];
        assert_eq!(answer(&coded, 200, false, None), Err(Malformed::Length));
    }
}
