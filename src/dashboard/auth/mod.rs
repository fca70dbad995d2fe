//! Who is let in, decided by nothing but the head of a request.
//!
//! There are two secrets for the page, as a browser keeps apart less than one would think: cookies are the same for
//! all ports of an address, so that whatever else is opened at 127.0.0.1 is sent them too.
//!
//! - The *token* opens calls. The page has it in the storage of its origin, which no other port can read, and
//!   brings it along in a header, which no form can, and no script of another origin.
//! - The *pass* opens the page: text that has no secrets. It is an HttpOnly, SameSite=Strict cookie.
//!
//! Whoever opens the address that is printed, which has the token, is given both, and goes on to an address that has
//! neither. A browser is started with another address: everybody on the machine can read command lines, so what
//! that has is a *ticket*, which is good for once.
//!
//! So a reload and a second tab work, the address bar shows no secret, and what another server on this machine may
//! get hold of calls nothing.
//!
//! Then `Host` has to be an address of ours, or a name that was pointed here would be taken for our origin
//! (DNS rebinding); and what a browser says of where a request comes from has to be this page.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

/// Which header calls bring the token in.
const TOKEN: &str = "x-workerheal-token";
/// What a page may do: show its own style, run its own script, ask where it came from; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
/// On every answer.
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
    /// A new one.
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

    /// Whether somebody knows it. Takes the same time however much of it is right.
    fn is(&self, said: &str) -> bool {
        let (known, said) = (self.0.as_bytes(), said.as_bytes());
        let differences = known.iter().zip(said).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        known.len() == said.len() && differences == 0
    }
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Pass,
    /// Somebody has come with the token in the address: give them the pass, and send them on.
    Welcome,
    /// Likewise, if nobody has come with this ticket before.
    Ticket,
    /// Refuse it, with this status and sentence.
    Refuse(StatusCode, &'static str),
}

const fn forbid(why: &'static str) -> Verdict {
    Verdict::Refuse(StatusCode::FORBIDDEN, why)
}

/// What it takes to be let in.
#[derive(Clone)]
pub(super) struct Auth {
    /// Opens calls.
    pub token: Secret,
    /// Opens the page.
    pub pass: Secret,
    /// Opens it once.
    pub ticket: Secret,
    /// Where this is: `127.0.0.1:9478`.
    address: SocketAddr,
}

impl Auth {
    /// With new secrets.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn new(address: SocketAddr) -> Result<Self, getrandom::Error> {
        Ok(Self { token: Secret::new()?, pass: Secret::new()?, ticket: Secret::new()?, address })
    }

    /// The address that is printed.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token.as_str())
    }

    /// The address that a browser is started with.
    pub fn url_for_once(&self) -> String {
        format!("http://{}/?token={}", self.address, self.ticket.as_str())
    }

    /// What becomes of a request.
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

    /// What whoever comes with a ticket again is told.
    pub const USED: Verdict = forbid(
        "This address was opened before, and is good for once. \
         Open the one that `workerheal dashboard` has printed. If it was not you who opened it, end that first.",
    );

    /// The name that this was reached by, if it is one of ours.
    fn host<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
        let host = one(headers, "host")?;
        let port = self.address.port();
        let ours = |host: &str| {
            // The port that http has if none is said.
            let host = if port == 80 && !host.ends_with(":80") { format!("{host}:80") } else { host.to_owned() };
            host == self.address.to_string() || host.eq_ignore_ascii_case(&format!("localhost:{port}"))
        };
        let both = uri.authority().is_none_or(|named| named.as_str() == host);
        (both && ours(host)).then_some(host)
    }

    fn cookie_name(&self) -> String {
        // Dashboards at other ports have theirs.
        format!("workerheal-{}", self.address.port())
    }

    /// The pass as a browser is given it, until it is closed.
    pub fn cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie_name(), self.pass.as_str())
    }
}

/// The value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
