use std::collections::HashSet;

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use ropewalk_types::Digest;
use serde_json::Value;

use crate::ConnectorError;
use crate::http::{same_origin, shown};

use super::Paging;

/// Where a reader of pages stands.
pub(super) struct Position<'a> {
    /// The page that came, counted from 1.
    pub(super) page: u64,
    /// Items of all pages so far.
    pub(super) rows: u64,
    /// Items of this page.
    pub(super) items: usize,
    /// Its URL.
    pub(super) url: &'a Url,
}

/// Finds the next page, and refuses those that lead away or in a circle.
pub(super) struct Pager {
    first: Url,
    paging: Paging,
    allowed_hosts: Vec<String>,
    /// Digests of the URLs that were asked: 32 bytes a page, however long they are.
    seen: HashSet<Digest>,
}

impl Pager {
    /// For pages that begin at `url`; with the URL of the first one.
    pub(super) fn new(url: Url, paging: Paging, allowed_hosts: &[String]) -> (Self, Url) {
        let mut first = url.clone();
        match &paging {
            Paging::PageNumber { parameter, first: number } => set(&mut first, parameter, &number.to_string()),
            Paging::Offset { parameter, limit_parameter, limit } => {
                set(&mut first, parameter, "0");
                set(&mut first, limit_parameter, &limit.to_string());
            }
            _ => {}
        }
        let seen = HashSet::from([Digest::of(first.as_str().as_bytes())]);
        (Self { first: url, paging, allowed_hosts: allowed_hosts.to_vec(), seen }, first)
    }

    pub(super) fn first(&self) -> &Url {
        &self.first
    }

    /// The page after `position`; none when that was the last.
    pub(super) fn next(
        &mut self,
        position: &Position<'_>,
        headers: &HeaderMap,
        answer: &Value,
    ) -> Result<Option<Url>, ConnectorError> {
        let stop = |reason: String| ConnectorError::Paging { page: position.page, url: shown(position.url), reason };
        let join = |text: &str| position.url.join(text).map_err(|error| stop(format!("its link is no URL: {error}")));
        let next = match &self.paging {
            Paging::None => None,
            Paging::LinkHeader => next_link(headers).map(|link| join(&link)).transpose()?,
            Paging::NextUrl { pointer } => match answer.pointer(pointer) {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) if text.is_empty() => None,
                Some(Value::String(text)) => Some(join(text)?),
                Some(other) => return Err(stop(format!("`{other}` at `{pointer}` is no URL"))),
            },
            Paging::PageNumber { parameter, first } => {
                (position.items > 0).then(|| with(position.url, parameter, &(first + position.page).to_string()))
            }
            Paging::Offset { parameter, .. } => {
                (position.items > 0).then(|| with(position.url, parameter, &position.rows.to_string()))
            }
            Paging::CursorToken { parameter, pointer } => match answer.pointer(pointer) {
                None | Some(Value::Null | Value::Bool(false)) => None,
                Some(Value::String(token)) if token.is_empty() => None,
                Some(Value::String(token)) => Some(with(position.url, parameter, token)),
                Some(Value::Number(token)) => Some(with(position.url, parameter, &token.to_string())),
                Some(_) => return Err(stop(format!("there is no token at `{pointer}`"))),
            },
        };
        if let Some(next) = &next {
            self.check(next).map_err(stop)?;
        }
        Ok(next)
    }

    fn check(&mut self, next: &Url) -> Result<(), String> {
        let allowed = next.host_str().is_some_and(|host| self.allowed_hosts.iter().any(|allowed| allowed == host));
        let secure = next.scheme() == "https" || next.scheme() == self.first.scheme() && next.scheme() == "http";
        let trusted = same_origin(next, &self.first) || (allowed && secure);
        if !trusted {
            return Err(format!("it leads to another host, `{}`", shown(next)));
        }
        if !self.seen.insert(Digest::of(next.as_str().as_bytes())) {
            return Err(format!("it leads back to `{}`", shown(next)));
        }
        Ok(())
    }
}

fn with(url: &Url, parameter: &str, value: &str) -> Url {
    let mut url = url.clone();
    set(&mut url, parameter, value);
    url
}

fn set(url: &mut Url, parameter: &str, value: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != parameter)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair(parameter, value);
}

/// The target of the first link whose relation is `next` (RFC 8288, section 3).
fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(links).find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target.to_owned())
}

/// The targets of a `Link` header's value, each with its parameters.
fn links(mut text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    while let Some((_, rest)) = text.split_once('<') {
        let Some((target, rest)) = rest.split_once('>') else { break };
        let end = end_of_link(rest);
        let (parameters, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        links.push((target, parameters));
        text = rest;
    }
    links
}

/// Where the parameters of a link end: at a comma outside of quotes.
fn end_of_link(text: &str) -> usize {
    let mut quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let relations = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(text: &str) -> Option<String> {
        next_link(&[(LINK, text.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let text = "<https://h/?p=1>; rel=\"prev\", </?p=3>; title=\"a, b\"; rel=\"last next\"";
        assert_eq!(link(text).as_deref(), Some("/?p=3"));
        assert_eq!(link("<x>; rel=next").as_deref(), Some("x"));
        for text in ["<x>; rel=\"prev\"", "x; rel=next", "<x; rel=next", ""] {
            assert_eq!(link(text), None, "{text}");
        }
    }

    fn following(paging: Paging, answers: &[Value]) -> Result<Vec<String>, ConnectorError> {
        let (mut pager, mut url) = Pager::new(Url::parse("https://h/x?q=a%20b").unwrap(), paging, &["cdn".to_owned()]);
        let mut urls = vec![url.to_string()];
        for (index, answer) in answers.iter().enumerate() {
            let items = answer["items"].as_array().map_or(1, Vec::len);
            let position = Position { page: index as u64 + 1, rows: 2 * (index as u64 + 1), items, url: &url };
            match pager.next(&position, &HeaderMap::new(), answer)? {
                Some(next) => url = next,
                None => break,
            }
            urls.push(url.to_string());
        }
        Ok(urls)
    }

    #[test]
    fn parameters_count_and_carry_tokens() {
        let paging = Paging::Offset { parameter: "skip".to_owned(), limit_parameter: "n".to_owned(), limit: 2 };
        let urls = following(paging, &[Value::Null, serde_json::json!({"items": []})]).unwrap();
        assert_eq!(urls, ["https://h/x?q=a+b&skip=0&n=2", "https://h/x?q=a+b&n=2&skip=2"]);
        let paging = Paging::CursorToken { parameter: "c".to_owned(), pointer: "/next".to_owned() };
        let urls = following(paging, &[serde_json::json!({"next": "a&b"}), serde_json::json!({"next": null})]).unwrap();
        assert_eq!(urls[1], "https://h/x?q=a+b&c=a%26b");
        assert_eq!(urls.len(), 2);
    }

    #[test]
    fn strangers_and_circles_are_refused() {
        let next = |text: &str| serde_json::json!({"next": text});
        let paging = || Paging::NextUrl { pointer: "/next".to_owned() };
        assert_eq!(following(paging(), &[next("/y"), next("")]).unwrap(), ["https://h/x?q=a%20b", "https://h/y"]);
        assert_eq!(following(paging(), &[next("https://cdn/y")]).unwrap()[1], "https://cdn/y");
        for bad in [
            next("https://evil/y"),
            next("http://h/y"),
            next("http://cdn/y"),
            next("?q=a%20b"),
            serde_json::json!({"next": 1}),
        ] {
            assert!(
                matches!(following(paging(), std::slice::from_ref(&bad)), Err(ConnectorError::Paging { page: 1, .. })),
                "{bad}"
            );
        }
        assert!(following(paging(), &[next("/y"), next("/z"), next("/y")]).is_err());
    }

    proptest! {
        #[test]
        fn no_header_panics(text in "[ -~]{0,60}") {
            let _ = link(&text);
        }
    }
}
