//! Authentication, decided from nothing but a request's header.
//!
//! The page has two secrets, because browsers do not separate cookies by port: other servers at 127.0.0.1 receive them
//! too.
//!
//! - The *token* authorizes calls. The page keeps it in the storage of its origin, which no other port can read, and
//!   sends it in a header, which neither a form nor a script of another origin can do.
//! - The *pass* opens the page, which contains no secrets. It is an HttpOnly, SameSite=Strict cookie.
//!
//! Opening the printed address, which contains the token, sets both and redirects to an address with neither. The
//! browser is started with another address, as every user of the machine can read command lines: it contains a
//! *ticket*, which can be used once.
//!
//! So a reload and a second tab work, the address bar shows no secret, and what another server on this machine may
//! receive authorizes no call.
//!
//! In addition, `Host` must be one of our addresses, to prevent DNS rebinding; and the origin that a browser states for
//! a request must be this page.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

/// The header with the token.
const TOKEN: &str = "x-workerheal-token";
/// The content security policy: only our own style, script and connections.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// Headers of every response.
pub(super) const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// 160 random bits, as text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// Creates a secret.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; 20];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.map(|byte| format!("{byte:02x}")).concat()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is the secret. Takes the same time however much of it matches.
    fn is(&self, said: &str) -> bool {
        let (known, said) = (self.0.as_bytes(), said.as_bytes());
        let differences = known.iter().zip(said).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        known.len() == said.len() && differences == 0
    }
}

/// The decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Pass,
    /// The address contains the token: set the pass, and redirect.
    Welcome,
    /// The same for an address with the ticket, if it has not been used before.
    Ticket,
    /// Refuse it, with this status and sentence.
    Refuse(StatusCode, &'static str),
}

const fn forbid(why: &'static str) -> Verdict {
    Verdict::Refuse(StatusCode::FORBIDDEN, why)
}

/// The secrets and the address to check against.
#[derive(Clone)]
pub(super) struct Auth {
    /// Authorizes calls.
    pub token: Secret,
    /// Opens the page.
    pub pass: Secret,
    /// Opens the page once.
    pub ticket: Secret,
    /// The address of the dashboard: `127.0.0.1:9478`.
    address: SocketAddr,
}

impl Auth {
    /// Creates new secrets.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn new(address: SocketAddr) -> Result<Self, getrandom::Error> {
        Ok(Self { token: Secret::new()?, pass: Secret::new()?, ticket: Secret::new()?, address })
    }

    /// The address to print.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token.as_str())
    }

    /// The address to start a browser with.
    pub fn url_for_once(&self) -> String {
        format!("http://{}/?token={}", self.address, self.ticket.as_str())
    }

    /// Decides about a request.
    pub fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let Some(host) = self.host(uri, headers) else {
            return forbid("this address is not the one that the dashboard listens at; behind `ssh -L` use its port");
        };
        let changes = match *method {
            Method::GET | Method::HEAD => false,
            Method::POST => true,
            _ => return Verdict::Refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are understood here"),
        };
        if !uri.path().starts_with("/api/") {
            return self.page(uri, headers);
        }
        let site = headers.get("sec-fetch-site");
        let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        if site.is_some_and(|site| site != "same-origin")
            || origin.is_some_and(|origin| origin != format!("http://{host}").as_bytes())
        {
            return forbid("this call comes from another page than the dashboard's");
        }
        if changes && origin.is_none() {
            return forbid("this call does not say which page it comes from");
        }
        if !one(headers, TOKEN).is_some_and(|token| self.token.is(token)) {
            return forbid("this page has no valid token; open the address that `workerheal dashboard` has printed");
        }
        let json = one(headers, "content-type").is_some_and(|it| it.eq_ignore_ascii_case("application/json"));
        if changes && !json {
            return Verdict::Refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "write the call as application/json");
        }
        Verdict::Pass
    }

    fn page(&self, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let query = uri.query().unwrap_or_default();
        if let Some(token) = query.split('&').find_map(|part| part.strip_prefix("token=")) {
            return if self.token.is(token) {
                Verdict::Welcome
            } else if self.ticket.is(token) {
                Verdict::Ticket
            } else {
                forbid(
                    "The token in this address is not valid: it is of another run. \
                     Open the address that `workerheal dashboard` has printed last.",
                )
            };
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mine = cookies.flat_map(|it| it.split("; ")).filter_map(|it| it.split_once('='));
        if mine.filter(|(name, _)| *name == self.cookie_name()).any(|(_, pass)| self.pass.is(pass)) {
            return Verdict::Pass;
        }
        forbid("This is the dashboard of workerheal. Open the address that `workerheal dashboard` has printed.")
    }

    /// The answer to a used ticket.
    pub const USED: Verdict = forbid(
        "This address was opened before, and is good for once. \
         Open the one that `workerheal dashboard` has printed. If it was not you who opened it, end that first.",
    );

    /// The host of the request, if it is one of ours.
    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
        let host = one(headers, "host")?;
        let port = self.address.port();
        let ours = |host: &str| {
            // The default port of HTTP.
            let host = if port == 80 && !host.ends_with(":80") { format!("{host}:80") } else { host.to_owned() };
            host == self.address.to_string() || host.eq_ignore_ascii_case(&format!("localhost:{port}"))
        };
        let both = uri.authority().is_none_or(|named| named.as_str() == host);
        (both && ours(host)).then_some(host)
    }

    fn cookie_name(&self) -> String {
        // Dashboards on other ports have cookies of their own.
        format!("workerheal-{}", self.address.port())
    }

    /// The pass as a session cookie.
    pub fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.pass.as_str())
    }
}

/// The value of a header that occurs once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
