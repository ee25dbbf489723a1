//! What is sent and what comes back.

use bytes::Bytes;
use egress::{FetchError, LookupError};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method};

use crate::support::{Reply, Server, fetch, get, ok};

#[tokio::test]
async fn a_request_arrives_as_it_is_meant() {
    let server = Server::plain(ok).await;
    let mut request = get(&server.url("/a/b?c=d"));
    request.method = Method::POST;
    request.body = Bytes::from("text");
    request.redirects = 3;
    let json = HeaderValue::from_static("application/json");
    request.headers.insert(CONTENT_TYPE, json);
    let forged = HeaderValue::from_static("elsewhere.example");
    request.headers.insert(HOST, forged);

    let response = fetch(request).await.unwrap();
    assert_eq!(response.status, 200);
    let arrived = String::from_utf8(response.body.to_vec())
        .unwrap()
        .to_lowercase();
    let (head, body) = arrived.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("post /a/b?c=d http/1.1"));
    let fields: Vec<&str> = lines.collect();
    assert!(
        fields.contains(&format!("host: {}", server.address).as_str()),
        "{head}"
    );
    assert!(fields.contains(&"content-length: 4"), "{head}");
    assert!(fields.contains(&"content-type: application/json"), "{head}");
    assert!(
        fields
            .iter()
            .any(|field| field.starts_with("user-agent: chancery/")),
        "{head}"
    );
    assert_eq!(body, "text");
}

#[tokio::test]
async fn a_caller_may_call_itself_something_else() {
    let server = Server::plain(ok).await;
    let mut request = get(&server.url("/"));
    request
        .headers
        .insert(USER_AGENT, HeaderValue::from_static("me"));
    let body = fetch(request).await.unwrap().body;
    let text = String::from_utf8_lossy(&body).to_lowercase();
    assert!(
        text.contains("user-agent: me\r\n") && !text.contains("chancery"),
        "{text}"
    );
}

#[tokio::test]
async fn an_answer_of_any_status_is_one() {
    for status in [404, 429, 500] {
        let answer = format!(
            "HTTP/1.1 {status} No\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        );
        let server = Server::plain(move |_| Reply::Keep(answer.clone())).await;
        let response = fetch(get(&server.url("/"))).await.unwrap();
        assert_eq!(response.status, status);
        assert_eq!(response.headers["retry-after"], "7");
        assert_eq!(&response.body[..], b"abcde");
    }
}

#[tokio::test]
async fn what_is_no_url_of_the_web_is_not_asked_for() {
    for url in [
        "",
        "/path",
        "example.com",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user@127.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:port/",
        "http://exa mple.com/",
        "http://ex\nample.com/",
    ] {
        let refused = fetch(get(url)).await;
        assert!(
            matches!(refused, Err(FetchError::Invalid { .. })),
            "{url}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_from_a_server_that_is_not_there() {
    let unknown = fetch(get("http://nowhere.example/")).await;
    let name = "nowhere.example".to_owned();
    let expected = FetchError::Unresolved(LookupError::NotFound { name });
    assert_eq!(unknown.unwrap_err(), expected);
    let closed = format!("http://127.0.0.1:{}/", testbed::free_port());
    let refused = fetch(get(&closed)).await;
    assert!(
        matches!(&refused, Err(FetchError::Unreachable { host, .. }) if host == "127.0.0.1"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_not_http_is_called_that() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}F",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent",
        "",
    ] {
        let server = Server::plain(move |_| Reply::Close(garbage.to_owned())).await;
        let broken = fetch(get(&server.url("/"))).await;
        assert!(
            matches!(broken, Err(FetchError::Broken { .. })),
            "{garbage:?}: {broken:?}"
        );
    }
}
