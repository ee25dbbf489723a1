//! The pages, written on the server: no script, and no text of others that is not escaped.

use std::fmt;

use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use lifecycle::{Question, Redirect};

use crate::exchange::{Response, answer};

/// How the pages look.
pub(super) const STYLE: &str = include_str!("style.css");

/// What a page may do: show itself, and send its form to us. Browsers apply `form-action` to where a
/// form is redirected to, too.
const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; \
                      frame-ancestors 'none'; form-action 'self'";

/// What the form sends back beside the token and the decision.
pub(super) struct Hidden<'a> {
    pub(super) fields: Vec<(&'static str, &'a str)>,
}

/// The page that asks.
pub(super) fn question(
    status: StatusCode,
    question: &Question,
    hidden: &Hidden<'_>,
    fault: Option<&str>,
) -> Response {
    let scopes: String = question
        .scopes
        .iter()
        .map(|scope| {
            let (scope, meaning) = (Escaped(scope), meaning(scope));
            format!("<li><code>{scope}</code> {meaning}</li>")
        })
        .collect();
    let (way, origin) = match &question.redirect {
        Redirect::OutOfBand => ("You will be shown a code to copy.".to_owned(), None),
        Redirect::Address { origin, .. } => (
            format!("You will be sent on to <code>{}</code>.", Escaped(origin)),
            Some(origin.as_str()),
        ),
    };
    let fault =
        fault.map(|fault| format!("<p class=\"fault\" role=\"alert\">{}</p>", Escaped(fault)));
    let fields: String = hidden
        .fields
        .iter()
        .map(|(name, value)| {
            format!(
                "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
                Escaped(value)
            )
        })
        .collect();
    let client = Escaped(&question.client);
    let body = format!(
        "<h1>Allow {client} to use your account?</h1>\
         {}\
         <p>It asks for:</p><ul>{scopes}</ul>\
         <p>{way} Go on only if you have just started {client} yourself.</p>\
         <form method=\"post\" action=\"/oauth/authorize\" autocomplete=\"off\">{fields}\
         <label for=\"token\">A token of your account</label>\
         <input type=\"password\" id=\"token\" name=\"token\" required autofocus>\
         <button name=\"decision\" value=\"allow\">Allow</button>\
         <button name=\"decision\" value=\"deny\" formnovalidate>Deny</button>\
         </form>",
        fault.unwrap_or_default(),
    );
    page(status, "Allow access?", &body, origin)
}

/// The page that shows a code to somebody who has to carry it.
pub(super) fn code(client: &str, code: &str) -> Response {
    let (client, code) = (Escaped(client), Escaped(code));
    let body = format!(
        "<h1>Copy this code to {client}</h1><p><code id=\"code\">{code}</code></p>\
         <p>It is good for ten minutes, once.</p>"
    );
    page(StatusCode::OK, "Your code", &body, None)
}

/// The page that says that nothing will come of it.
pub(super) fn refusal(status: StatusCode, text: &str) -> Response {
    let body = format!(
        "<h1>Nothing was allowed</h1><p class=\"fault\" role=\"alert\">{}</p>",
        Escaped(text)
    );
    page(status, "Nothing was allowed", &body, None)
}

/// An answer with what protects our pages; `target` is the origin that a form may end at.
pub(super) fn protected(mut response: Response, target: Option<&str>) -> Response {
    let headers = response.headers_mut();
    let policy = match target {
        Some(target) => format!("{POLICY} {target}"),
        None => POLICY.to_owned(),
    };
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    let fixed: [(HeaderName, &'static str); 4] = [
        (CACHE_CONTROL, "no-store"),
        // Without any, browsers would not say where a form comes from either.
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn page(status: StatusCode, title: &str, body: &str, target: Option<&str>) -> Response {
    let document = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} · Chancery</title>\
         <link rel=\"stylesheet\" href=\"/oauth/style.css\"></head>\
         <body><main>{body}</main></body></html>\n"
    );
    protected(answer(status, "text/html; charset=utf-8", document), target)
}

/// What a scope lets a client do, for people.
fn meaning(scope: &str) -> &'static str {
    match scope {
        "public" => "see stacks and accounts",
        "redeploy" => "redeploy stacks",
        "jobs" => "run jobs",
        "users" => "see users",
        "admin" => "manage certificates and DNS providers",
        _ => "",
    }
}

/// Text of others within a page or an attribute in double quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                // Marks that turn text around would make it look like other text.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    formatter.write_str("\u{fffd}")?;
                }
                other if other.is_control() => formatter.write_str("\u{fffd}")?,
                other => write!(formatter, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn nothing_of_others_is_markup() {
        let shown = Escaped("<a href=\"x\" o='y'>&amp;\u{202e}\u{7}").to_string();
        assert_eq!(
            shown,
            "&lt;a href=&quot;x&quot; o=&#39;y&#39;&gt;&amp;amp;\u{fffd}\u{fffd}"
        );
    }
}
