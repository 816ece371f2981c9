//! When a route applies.

use super::values::{exact, regex, value};
use sallyport_config::ir::{ClaimMatch, HeaderMatch, Matcher, PathMatch, QueryMatch, ValueMatch};
use sallyport_wire::envoy::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use sallyport_wire::envoy::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use sallyport_wire::envoy::envoy::config::route::v3::{
    HeaderMatcher, QueryParameterMatcher, RouteMatch, route_match::PathSpecifier,
};
use sallyport_wire::envoy::envoy::r#type::matcher::v3::{
    ListMatcher, MetadataMatcher, OrMatcher, StringMatcher, ValueMatcher, list_matcher,
    metadata_matcher::{PathSegment, path_segment},
    value_matcher,
};
use sallyport_wire::envoy::google::protobuf::BoolValue;

/// Name of the filter that checks tokens, and of the metadata that it leaves.
pub(super) const JWT: &str = "envoy.filters.http.jwt_authn";
/// Key under which it leaves the claims.
pub(super) const PAYLOAD: &str = "payload";

/// A matcher as Envoy has it.
pub(super) fn route_match(matcher: &Matcher) -> RouteMatch {
    let (path, ignore_case) = path(&matcher.path);
    let pseudo = [
        (":method", &matcher.method),
        (":authority", &matcher.authority),
        (":scheme", &matcher.scheme),
    ];
    let pseudo = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let pseudo = pseudo.map(|(name, value)| header(name, value));
    RouteMatch {
        case_sensitive: ignore_case.then_some(BoolValue { value: false }),
        headers: pseudo
            .chain(matcher.headers.iter().map(condition))
            .collect(),
        query_parameters: matcher.query.iter().map(query).collect(),
        dynamic_metadata: matcher.claims.iter().map(claim).collect(),
        path_specifier: Some(path),
        ..RouteMatch::default()
    }
}

fn path(path: &PathMatch) -> (PathSpecifier, bool) {
    match path {
        PathMatch::Any => (PathSpecifier::Prefix("/".to_owned()), false),
        PathMatch::Exact { path, ignore_case } => (PathSpecifier::Path(path.clone()), *ignore_case),
        PathMatch::Prefix {
            prefix,
            ignore_case,
        } => (PathSpecifier::Prefix(prefix.clone()), *ignore_case),
        PathMatch::Regex(pattern) => (PathSpecifier::SafeRegex(regex(pattern)), false),
    }
}

/// A condition on a header, not inverted.
pub(super) fn header(name: &str, condition: &ValueMatch) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier(value(condition))),
        ..HeaderMatcher::default()
    }
}

/// A condition on a header by a matcher of strings.
pub(super) fn header_text(name: &str, matcher: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher)),
        ..HeaderMatcher::default()
    }
}

fn specifier(matcher: Option<StringMatcher>) -> HeaderMatchSpecifier {
    matcher.map_or(
        HeaderMatchSpecifier::PresentMatch(true),
        HeaderMatchSpecifier::StringMatch,
    )
}

fn condition(condition: &HeaderMatch) -> HeaderMatcher {
    let presence = condition.value == ValueMatch::Present;
    HeaderMatcher {
        invert_match: condition.invert,
        // an absent header counts as an empty one, unless absence is what is asked for
        treat_missing_header_as_empty: condition.invert && !presence,
        ..header(&condition.name, &condition.value)
    }
}

fn query(condition: &QueryMatch) -> QueryParameterMatcher {
    let specifier = value(&condition.value).map_or(
        QueryParameterMatchSpecifier::PresentMatch(true),
        QueryParameterMatchSpecifier::StringMatch,
    );
    QueryParameterMatcher {
        name: condition.name.clone(),
        query_parameter_match_specifier: Some(specifier),
    }
}

fn claim(condition: &ClaimMatch) -> MetadataMatcher {
    let test = value(&condition.value).map_or_else(present, |m| string_or_member(vec![m]));
    MetadataMatcher {
        invert: condition.invert,
        ..of_claim(&condition.path, test)
    }
}

/// A test on a claim of the verified token.
pub(super) fn of_claim(path: &[String], value: ValueMatcher) -> MetadataMatcher {
    let segment = |key: &str| PathSegment {
        segment: Some(path_segment::Segment::Key(key.to_owned())),
    };
    let path = std::iter::once(PAYLOAD).chain(path.iter().map(String::as_str));
    MetadataMatcher {
        filter: JWT.to_owned(),
        path: path.map(segment).collect(),
        value: Some(value),
        invert: false,
    }
}

fn present() -> ValueMatcher {
    ValueMatcher {
        match_pattern: Some(value_matcher::MatchPattern::PresentMatch(true)),
    }
}

/// Holds for a string, or for a member of a list, when any of the matchers does.
pub(super) fn string_or_member(matchers: Vec<StringMatcher>) -> ValueMatcher {
    let mut value_matchers = Vec::with_capacity(2 * matchers.len());
    for matcher in matchers {
        let string = ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::StringMatch(matcher)),
        };
        let member = ListMatcher {
            match_pattern: Some(list_matcher::MatchPattern::OneOf(Box::new(string.clone()))),
        };
        value_matchers.push(string);
        value_matchers.push(ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::ListMatch(Box::new(member))),
        });
    }
    ValueMatcher {
        match_pattern: Some(value_matcher::MatchPattern::OrMatch(OrMatcher {
            value_matchers,
        })),
    }
}

/// Requests that did not come by `https`.
pub(super) fn not_https() -> HeaderMatcher {
    HeaderMatcher {
        invert_match: true,
        ..header_text("x-forwarded-proto", exact("https"))
    }
}
